"""Micro-batches that a fault may affect: those of the problem, and others that a candidate may have made."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from gradcheck.faults.interface import Fault, Place
from gradcheck.keras_private import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


@runtime_checkable
class SlicingFault(Fault, Protocol):
    """A fault that depends on the number of micro-batches."""

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield the fault in a split over `count` micro-batches, whatever the problem's own number is.

        Yield nothing if these are the same slices as for a smaller count, or as the problem's own.
        """
        ...


def over(count: int) -> Place:
    """Return the place of a fault in the accumulation over `count` micro-batches."""
    return Place(text=f"{count} micro-batches")


def own_sizes(problem: Problem) -> tuple[int, ...]:
    """Return the number of examples in each of the problem's micro-batches; () if it has none."""
    return tuple(part.stop - part.start for part in problem.slices)


def new_sizes(problem: Problem, count: int) -> tuple[int, ...]:
    """Return the number of examples in each of `count` micro-batches.

    It is () if a smaller count or the problem itself has the same slices, or if the batch cannot be sliced.
    """
    batch = problem.batch.size
    if count > batch or not _can_be_sliced(problem, batch):
        return ()
    size = math.ceil(batch / count)
    sizes = tuple(stop - start for start, stop in pairwise([*range(0, batch, size), batch]))
    return () if len(sizes) != count or sizes == own_sizes(problem) else sizes


def _can_be_sliced(problem: Problem, batch: int) -> bool:
    """Whether the model takes any batch size, and targets and sample weights have the batch axis first."""
    beside = [tensor for tensor in (*problem.batch.y, *(problem.batch.sample_weight or ())) if tensor is not None]
    fixed = any(tensor.shape[0] is not None for tensor in problem.graph.inputs)
    return not fixed and all(tensor.shape.rank and int(tensor.shape[0]) % batch == 0 for tensor in beside)


def counts_elements(problem: Problem) -> bool:
    """Whether the loss may be a mean over something else than examples: unmasked elements, or sample weights."""
    losses = [term.keras_loss for term in problem.loss.terms if term is not None]
    masked = any(mask_of(problem.graph.spec(ref)) is not None for ref in problem.graph.outputs)
    ignoring = any(getattr(loss, "ignore_class", None) is not None for loss in losses)
    return masked or ignoring or problem.batch.sample_weight is not None


def divides_by_weights(problem: Problem) -> bool:
    """Whether a loss is divided by the sum of its sample weights."""
    weights = problem.batch.sample_weight or ()
    return any(
        term is not None and weight is not None and term.reduction == "mean_with_sample_weight"
        for term, weight in zip(problem.loss.terms, weights, strict=False)
    )

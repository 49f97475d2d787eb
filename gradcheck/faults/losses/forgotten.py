"""GC506 and GC507: the loss is computed without sample weights, or without the mask of an output."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.batch.loss import RANDOM_COTANGENT
from gradcheck.batch.slices import make_slices
from gradcheck.building.endpoints import output_names
from gradcheck.cutting.tensor_copies import copied
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.handoff.split import HandOff
from gradcheck.keras_private import mask_of, set_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


class WeightsForgotten(Fault):
    """A loss that is called with targets and outputs alone."""

    code = "GC506"
    nowhere = "the batch has no sample weights"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the weights of all outputs, and of each of several."""
        weights = problem.batch.sample_weight or ()
        where = [
            i
            for i, (term, weight) in enumerate(zip(problem.loss.terms, weights, strict=False))
            if term is not None and weight is not None and bool(tf.reduce_any(weight != 1))
        ]
        effect = "the loss was computed without the sample weights of {}"
        return _at_outputs(problem, self.code, where, partial(LossUnweighted, problem), effect)


class MaskForgotten(Fault):
    """A loss over all elements of an output, or divided by their number."""

    code = "GC507"
    nowhere = "no output of the model has a Keras mask that its loss would use"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the masks of all outputs, and of each of several; then masks that only the divisor lacks."""
        where = [
            i
            for i, (term, ref) in enumerate(zip(problem.loss.terms, problem.graph.outputs, strict=True))
            if term is not None and term.name != RANDOM_COTANGENT and mask_of(problem.graph.spec(ref)) is not None
        ]
        averaged = [i for i in where if (term := problem.loss.terms[i]) is not None and term.reduction == "mean"]
        effect = "the loss was computed over all elements of {}, without its mask"
        yield from _at_outputs(problem, self.code, where, LossUnmasked, effect)
        effect = "the sum of the loss over what the mask of {} keeps was divided by the number of all elements"
        yield from _at_outputs(problem, self.code, averaged, DividedByAll, effect)


def _at_outputs(
    problem: Problem, code: str, where: Sequence[int], change: Callable[[Collection[int]], HandOff], effect: str
) -> Iterator[Injection]:
    """Yield `change` at all outputs of `where`, then at each of several; `effect` has {} in place of the output."""
    names, place = output_names(problem.model), Place(text="the loss", segment=len(problem.segments) - 1)
    each = [(f"output {names[i]}", [i]) for i in where] if len(where) > 1 else []
    for name, at in [("every output", where), *each] if where else ():
        yield Injection(code=code, place=place, effect=effect.format(name), steps=partial(change, at))


class LossUnweighted(HandOff):
    """The hand-off in which the examples count alike in the losses of some outputs."""

    def __init__(self, problem: Problem, at: Collection[int]) -> None:
        """Leave out the sample weights of the outputs `at`."""
        self._problem, self._at = problem, at

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the slices with ones for weights, weighed as such slices are."""
        parts = [
            part._replace(tensors=part.tensors._replace(sample_weight=self._ones(part.tensors.sample_weight)))
            for part in parts
        ]
        if not self._problem.slices:
            return parts
        problem = self._problem
        batch = replace(problem.batch, sample_weight=tuple(self._ones(problem.batch.sample_weight)))
        with problem.state.preserved():
            slices = make_slices(len(parts), problem.model, batch, problem.loss, training=problem.training)
        return [part._replace(scales=of_part.scales) for part, of_part in zip(parts, slices, strict=True)]

    def _ones(self, weights: Sequence[Any] | None) -> list[Any]:
        # A function of the user's own may not take None.
        return [tf.ones_like(weight) if i in self._at else weight for i, weight in enumerate(weights or ())]


class LossUnmasked(HandOff):
    """The hand-off in which the losses of some outputs do not see their masks."""

    changes_forward = True

    def __init__(self, at: Collection[int]) -> None:
        """Take the masks off the outputs `at`."""
        self._at = at

    def loss(self, problem: Problem, part: MicroBatch, outputs: Sequence[Any]) -> Any:
        """Return the loss of copies without masks. Every example counts alike, as its slice's share says."""
        seen = [copied(output) for output in outputs]
        for index in self._at:
            set_mask(seen[index], None)
        return super().loss(problem, _weighed(problem, part, dict.fromkeys(self._at, 1.0)), seen)


class DividedByAll(HandOff):
    """The hand-off in which some outputs' losses are masked sums, divided by the number of all elements."""

    changes_forward = True

    def __init__(self, at: Collection[int]) -> None:
        """Divide the losses of the outputs `at`."""
        self._at = at

    def loss(self, problem: Problem, part: MicroBatch, outputs: Sequence[Any]) -> Any:
        """Return the means over what the masks keep, times the share that they keep."""
        kept = {i: float(tf.reduce_mean(tf.cast(mask_of(outputs[i]), tf.float64))) for i in self._at}
        return super().loss(problem, _weighed(problem, part, kept), outputs)


def _weighed(problem: Problem, part: MicroBatch, factors: Mapping[int, float]) -> MicroBatch:
    """Return the slice with its share of the batch, times a factor, as the weight of each of the terms `factors`."""
    terms, share = problem.loss.terms, 1.0 if part.share is None else part.share
    scales = list(part.scales or [1.0] * len(terms))
    for i, factor in factors.items():
        if (term := terms[i]) is not None and term.reduction != "sum":
            scales[i] = share * factor
    return part._replace(scales=tuple(scales))

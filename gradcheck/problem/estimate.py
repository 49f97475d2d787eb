"""The memory that each method needs, estimated from shapes alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.config.sections.methods import METHODS
from gradcheck.cutting.cost import elements, tensor_bytes
from gradcheck.cutting.model_graph import TensorRef
from gradcheck.problem.budget import jacobian_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gradcheck.config.sections.methods import Held
    from gradcheck.cutting.model_graph import Graph
    from gradcheck.cutting.segment import Segment


#: How many times the activations of one batch a run holds at its peak: values, cotangents, the reference's tensors and
#: a method's, and their comparison in float64. Measured on dense and convolutional models: 3.6 to 4.2.
_HELD = 4


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the peak of each method, without the weights. Activations count once, in the tensor's dtype.

    Attributes:
        weights: all variables, trainable or not.
        tape: inputs and all activations, and one gradient per weight.
        held: by what a method holds, with one gradient per weight: `activations`, as `tape`, and the cotangents of the
            widest cut; `boundaries`, with the activations of the largest segment; `jacobian_block`, with all
            activations.
        run: of a whole run, with the weights: they and their snapshot, the gradients of the reference, of a method and
            of one more pass, and `_HELD` times the activations.
        jacobian_full: the explicit Jacobians of all segments with respect to inputs and weights, if they were kept.
    """

    weights: int
    tape: int
    run: int
    held: Mapping[Held, int]
    jacobian_full: int

    @property
    def by_name(self) -> dict[str, int]:
        """All of it as the plan lists it, with each method by what it holds."""
        known = METHODS.items()
        methods = {name: size for held, size in self.held.items() for name, info in known if info.holds == held}
        return {"weights": self.weights, "tape": self.tape, **methods, "jacobian_full": self.jacobian_full}


def estimate(
    graph: Graph, segments: Sequence[Segment], variables: Sequence[Any], batch_size: int, *, budget: int
) -> MemoryEstimate:
    """Estimate the memory for `segments` of `graph`, whose model has `variables`, under a `budget` in bytes."""
    weights = variable_bytes(variables)
    gradients = variable_bytes([v for v in variables if getattr(v, "trainable", False)])
    activations = [bytes_of(graph, made_by(graph, segment.plan.calls), batch_size) for segment in segments]
    boundaries = [bytes_of(graph, segment.plan.outputs, batch_size) for segment in segments]
    full = sum(_jacobian_bytes(graph, segment, batch_size) for segment in segments)
    split = sum(activations) + gradients + max(boundaries, default=0)
    everything = bytes_of(graph, graph.names, batch_size)
    return MemoryEstimate(
        weights=weights,
        tape=everything + gradients,
        run=2 * weights + 3 * gradients + _HELD * everything,
        held={
            "activations": split,
            "boundaries": sum(boundaries) + max(activations, default=0) + gradients,
            "jacobian_block": split + min(full, jacobian_block(budget)),
        },
        jacobian_full=full,
    )


def _jacobian_bytes(graph: Graph, segment: Segment, batch_size: int) -> int:
    """Return the number of output elements times that of input and weight elements, in bytes of the output's dtype."""
    columns = sum(elements(graph.spec(ref), batch_size) for ref in segment.plan.inputs)
    columns += sum(int(math.prod(v.shape)) for v in segment.trainable_variables)
    return columns * bytes_of(graph, segment.plan.outputs, batch_size)


def made_by(graph: Graph, calls: Iterable[int]) -> Iterator[TensorRef]:
    """Return the tensors that `calls` return."""
    return (TensorRef(call, i) for call in calls for i in range(len(graph.calls[call].outputs)))


def bytes_of(graph: Graph, refs: Iterable[TensorRef], batch_size: int) -> int:
    """Return the bytes of tensors of `graph`, for a batch of `batch_size` rows."""
    return sum(tensor_bytes(graph.spec(ref), batch_size) for ref in refs)


def variable_bytes(variables: Sequence[Any]) -> int:
    """Return the bytes of variables."""
    return sum(int(math.prod(v.shape)) * int(tf.as_dtype(v.dtype).size) for v in variables)

"""The reference: the whole model, run by Keras itself, under one tape."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.draws import Draws
from gradcheck.building.state import Moment
from gradcheck.cutting.run_calls import tapped
from gradcheck.cutting.segment import WholeGraph
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import NotApplicable
from gradcheck.handoff.interface import Computed
from gradcheck.handoff.microbatches import accumulated, joined, micro_batches
from gradcheck.handoff.tensors import dense, gradients_of, scaled, total_loss, watch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.handoff.interface import Tensors
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem, TensorKey


def monolithic(problem: Problem, tensors: Tensors) -> Computed:
    """Return the loss, the outputs and every gradient of the whole model, under one `tf.GradientTape`.

    With micro-batches the whole model runs over the same slices, one after another.

    Raises:
        NotApplicable: if the reference is read from a file: the whole model may fit no machine.
    """
    if problem.reference_file is not None:
        raise NotApplicable(f"it needs the whole model, whose reference is read from {problem.reference_file}")
    weights: dict[TensorKey, Any] = {}
    parts = []
    inside = problem.whole_graph.opened and problem.whole_boundaries and problem.loss.of_model is None
    start = _Start(problem) if inside else None
    for part in micro_batches(problem, tensors):
        computed, of_weights = _whole(problem, part)
        accumulated(weights, of_weights.items())
        parts.append(computed)
    if start is not None:
        with start.again():
            traced = [_traced_boundaries(problem, part) for part in micro_batches(problem, tensors)]
        parts = [c._replace(gradients={**c.gradients, **more}) for c, more in zip(parts, traced, strict=True)]
    return joined(parts, weights, tensors.loss_scale)


class _Start:
    """The state and the random numbers from which a run of the whole model begins."""

    def __init__(self, problem: Problem) -> None:
        self._movable = problem.state.movable
        self._places = self._here()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Go back there in the block, and afterwards to where it began."""
        end = self._here()
        self._put_back(self._places)
        yield
        self._put_back(end)

    def _here(self) -> tuple[Moment, Draws]:
        return Moment(self._movable), Draws()

    @staticmethod
    def _put_back(places: tuple[Moment, Draws]) -> None:
        for place in places:
            place.put_back()


def _whole(problem: Problem, part: MicroBatch) -> tuple[Computed, dict[TensorKey, Any]]:
    """Return loss, outputs and the gradients of inputs and boundaries for one batch, then those of the weights.

    A boundary's gradient is taken at a copy of the tensor that crosses, so that it contains what the boundary's
    consumers contribute and nothing else.
    """
    model, tensors = problem.model, part.tensors
    # A loss that calls the model itself may do so several times: there is not one tensor at a boundary.
    untapped = problem.whole_graph.opened or problem.loss.of_model is not None
    crossing = {} if untapped else problem.whole_boundaries
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        watch(tape, x)
        with _taps(problem, set(crossing.values()), lambda tap: watch(tape, [tap])) as taps:
            data_loss, outputs = problem.loss.of(
                model, x, tensors.y, tensors.sample_weight, training=problem.training, scales=part.scales
            )
        # `model.losses` are those of the latest call, so they are added under the tape, before the next slice runs.
        loss = total_loss(data_loss, model.losses, part.share)
        # The scaled loss is differentiated, as in mixed precision: small gradients underflow otherwise.
        target = scaled(loss, tensors.loss_scale)
    sources: dict[TensorKey, Any] = {weight.key: weight.variable.value for weight in problem.weights}
    inputs = {problem.input_key(i): tensor for i, tensor in enumerate(x)}
    inputs |= {problem.boundary_key(ref): taps[there] for ref, there in crossing.items()}
    gradients = gradients_of(tape, [target], [*sources.values(), *inputs.values()])
    # Weights' gradients stay sparse: a dense one of a large embedding may not fit in memory.
    crossed = {key: dense(g) for key, g in zip(inputs, gradients[len(sources) :], strict=True)}
    return Computed(loss, outputs, crossed), dict(zip(sources, gradients, strict=False))


def whole_loss(problem: Problem, tensors: Tensors) -> Computed:
    """Return the loss of the whole model alone: the body of a method that differentiates in its own way."""
    found, _ = problem.loss.of(problem.model, tensors.x, tensors.y, tensors.sample_weight, training=problem.training)
    return Computed(total_loss(found, problem.model.losses), [], {})


def _traced_boundaries(problem: Problem, part: MicroBatch) -> dict[TensorKey, Any]:
    """Return the cotangents of boundaries that lie inside a layer's own `call`, where no tensor can be copied.

    They are those of the calls that were traced, run under one tape; preparing the problem has held these against the
    model itself.
    """
    graph, crossing, tensors = problem.whole_graph, problem.whole_boundaries, part.tensors
    with tf.GradientTape() as tape:
        x = [copied(tensor) for tensor in tensors.x]
        watch(tape, x)
        whole = WholeGraph(
            graph,
            dtype=problem.model.dtype_policy,
            separate=set(crossing.values()),
            on_copy=lambda copy: watch(tape, [copy]),
        )
        outputs = whole(x, training=problem.training)
        data_loss = problem.loss(tensors.y, outputs, tensors.sample_weight, part.scales)
        target = scaled(total_loss(data_loss, whole.segment.losses, part.share), tensors.loss_scale)
    keys = {problem.boundary_key(ref): whole.copies[there] for ref, there in crossing.items()}
    return dict(zip(keys, map(dense, gradients_of(tape, [target], list(keys.values()))), strict=True))


def _taps(
    problem: Problem, crossing: Collection[TensorRef], on_tap: Callable[[Any], None]
) -> AbstractContextManager[dict[TensorRef, Any]]:
    """Return the taps at the boundaries; none if nothing crosses where Keras's own graph can be tapped."""
    return tapped(problem.whole_graph, crossing, on_tap) if crossing else nullcontext({})

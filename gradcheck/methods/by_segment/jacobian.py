"""`jacobian`: the explicit Jacobians of every segment, with respect to inputs and weights, chained by hand.

Each block of rows or columns is contracted with the cotangent as soon as it exists (`by_segment.linear`), so that
memory stays under the budget. The Jacobian with respect to an input is computed example by example if the segment does
not mix examples, which is measured; batch norm in training does.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import as_float64, named_tensors
from gradcheck.cutting.cost import tensor_bytes
from gradcheck.cutting.model_graph import TensorRef
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split
from gradcheck.handoff.tensors import gradients_of, is_differentiable
from gradcheck.keras_private import mask_of, set_mask
from gradcheck.methods.by_segment.jacobian_report import KeptJacobians, with_jacobians
from gradcheck.methods.by_segment.linear import Linearised, by_columns, by_rows, mixes_examples
from gradcheck.methods.by_segment.summands import Summands
from gradcheck.methods.directional.directions import noise_floors
from gradcheck.problem.budget import jacobian_block

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.handoff.split import Pass
    from gradcheck.methods.by_segment.linear import Observer
    from gradcheck.methods.directional.directions import Measured
    from gradcheck.problem.problem import Problem, TensorKey

    Array = NDArray[Any]


def jacobian(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the split model's gradients by explicit Jacobians, computed eagerly."""
    kept = KeptJacobians(problem) if problem.config.report.jacobians else None

    def body(problem: Problem, tensors: Tensors) -> Computed:
        return split(problem, tensors, ByJacobians(problem, kept))

    execution = Execution(problem, body, execution="eager")
    found = execution()

    # Sums over rows round more than one VJP does, so the reference's noise floor alone may be too low.
    def measured(tensors: Tensors, keys: Collection[TensorKey]) -> Measured:
        moved = named_tensors(problem, execution.run_as_it_is(tensors))
        return {key: as_float64(moved[key]) for key in keys}

    def noise(keys: Collection[TensorKey]) -> dict[TensorKey, float]:
        before = named_tensors(problem, found)
        floors = noise_floors(problem, [{key: as_float64(before[key]) for key in keys}], [measured], keys)
        # Summands that cancel, such as those of two examples, may do so in every measured run: nothing moves then.
        summands = Summands(problem)
        weighing = ByJacobians(problem, summands)
        Execution(problem, lambda problem, tensors: split(problem, tensors, weighing), execution="eager")()
        return {key: max(floor, summands.rounding(key)) for key, floor in floors.items()}

    found = replace(found, noise=noise)
    return found if kept is None else with_jacobians(problem, found, kept)


class ByJacobians(HandOff):
    """A hand-off whose chain rule multiplies each cotangent by the segment's explicit Jacobian."""

    persistent = True

    def __init__(self, problem: Problem, seen_by: KeptJacobians | Summands | None = None) -> None:
        """Take state and memory budget from `problem`; `seen_by` takes every block."""
        self._problem = problem
        self._seen_by = seen_by
        self._moving: set[int] = set()

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the outputs, and record whether computing them changed any state."""
        before = self._problem.state.read()
        outputs = super().forward(segment, inputs, training=training)
        after = self._problem.state.read()
        if any(bool(tf.reduce_any(before[path] != after[path])) for path in before):
            self._moving.add(segment.plan.index)
        return outputs

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return seed · Jacobian, summed over the targets, for every source."""
        totals: list[Any] = [None] * len(sources)
        for target, seed in zip(targets, seeds, strict=True):
            for i, part in enumerate(self._product(done, target, seed, sources)):
                if part is not None:
                    totals[i] = part if totals[i] is None else totals[i] + part
        return [None if t is None else tf.cast(t, s.dtype) for t, s in zip(totals, sources, strict=True)]

    def _product(self, done: Pass, target: Any, seed: Any, sources: Sequence[Any]) -> list[Any]:
        """Return seed · Jacobian of one target, for every source in its own shape."""
        # A VJP with a seed of zeros shows the sources that the target depends on: it is None for all others.
        reached = gradients_of(done.tape, [target], sources, [tf.zeros_like(seed)])
        wanted = [i for i, gradient in enumerate(reached) if gradient is not None]
        activations = [i for i in wanted if not isinstance(sources[i], tf.Variable)]
        parts: list[Any] = [None] * len(sources)
        apart = self._examples_apart(done, target, [sources[i] for i in activations])
        # All examples share the weights, so that a Jacobian with respect to one cannot be taken per example.
        for group, examples in ((activations, apart), ([i for i in wanted if i not in activations], 1)):
            linear = Linearised(tape=done.tape, target=target, sources=[sources[i] for i in group], examples=examples)
            for i, part in zip(group, self._contracted(done, linear, seed), strict=True):
                parts[i] = tf.reshape(part, sources[i].shape)
        return parts

    def _examples_apart(self, done: Pass, target: Any, sources: Sequence[Any]) -> int:
        """Return the number of examples, if target and sources do not mix them; else 1."""
        batch_size = self._problem.batch.size
        if target.shape.rank == 0 or not sources:
            return 1
        linear = Linearised(tape=done.tape, target=target, sources=sources, examples=1)
        return 1 if mixes_examples(linear, batch_size) else batch_size

    def _contracted(self, done: Pass, linear: Linearised, seed: Any) -> list[Any]:
        """Return seed · Jacobian for each source of `linear`: by columns if it has fewer of them, else by rows."""
        cotangent = np.asarray(seed).astype(np.float64).reshape(linear.examples, -1)
        parts: dict[int, Any] = {}
        for i in range(len(linear.sources)):
            if linear.columns(i) < linear.rows:
                only = replace(linear, sources=[linear.sources[i]])
                with suppress(LookupError):  # an operation whose gradient cannot be differentiated again: by rows
                    stacked = self._stacked(done, only, only.columns(0))
                    parts[i] = by_columns(stacked, cotangent, 0, self._observer(done, only, cotangent))
        left = [i for i in range(len(linear.sources)) if i not in parts]
        if left:
            rest = replace(linear, sources=[linear.sources[i] for i in left])
            found = by_rows(self._stacked(done, rest, rest.rows), cotangent, self._observer(done, rest, cotangent))
            parts |= zip(left, found, strict=True)
        return [parts[i] for i in range(len(linear.sources))]

    def _observer(self, done: Pass, linear: Linearised, cotangent: Array) -> Observer | None:
        return None if self._seen_by is None else self._seen_by.observer(done, linear, cotangent)

    def _stacked(self, done: Pass, linear: Linearised, count: int) -> Linearised:
        """Return `linear` on as many copies of the batch as fit a block, if the segment allows it; else unchanged."""
        copies = min(count, self._copies(done))
        # Copies need another forward pass, which must not move state, and must compute each copy as the batch alone.
        if copies < 2 or linear.examples == 1 or done.segment.plan.index in self._moving:  # noqa: PLR2004 - one copy is no stack
            return linear
        if not any(linear.target is output for output in done.outputs):
            return linear  # the target is the logits that Keras sets on an output: no output of the segment itself
        if not all(_has_examples(tensor, linear.examples) for tensor in done.inputs):
            return linear  # seeds of dropout masks between chunks: they are for one batch, without an axis of examples
        given = [_tiled(tensor, copies) for tensor in done.inputs]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch([tensor for tensor in given if is_differentiable(tensor)])
            outputs = super().forward(done.segment, given, training=self._problem.training)
        counterpart = {id(a): b for a, b in zip([*done.inputs, *done.outputs], [*given, *outputs], strict=True)}
        stacked = Linearised(
            tape=tape,
            target=counterpart[id(linear.target)],
            sources=[counterpart[id(source)] for source in linear.sources],
            examples=linear.examples,
            copies=copies,
        )
        return stacked if _repeats(stacked.target, linear.target) else linear

    def _copies(self, done: Pass) -> int:
        """Return how many copies of the batch make a block."""
        graph, batch_size = self._problem.graph, self._problem.batch.size
        made = (TensorRef(call, i) for call in done.segment.plan.calls for i in range(len(graph.calls[call].outputs)))
        one = sum(tensor_bytes(graph.spec(ref), batch_size) for ref in [*made, *done.segment.plan.inputs])
        return max(1, jacobian_block(self._problem.memory_budget) // (4 * one))


def _has_examples(tensor: Any, examples: int) -> bool:
    """Whether the first axis of `tensor` is surely that of the examples: a seed may be as long as the batch."""
    if not tensor.shape.rank or tensor.shape[0] != examples:
        return False
    return tensor.shape.rank > 1 or is_differentiable(tensor)


def _tiled(tensor: Any, copies: int) -> Any:
    """Return `copies` of `tensor` along its first axis, with its mask."""
    tiled = tf.tile(tensor, [copies, *([1] * (tensor.shape.rank - 1))])
    mask = mask_of(tensor)
    if mask is not None:
        set_mask(tiled, _tiled(mask, copies))
    return copied(tiled)


def _repeats(stacked: Any, single: Any) -> bool:
    """Whether every copy equals the batch alone up to rounding, so that nothing depends on the number of copies."""
    copies = int(stacked.shape[0]) // int(single.shape[0])
    # Matrix products of another size add in another order: they can be equal up to rounding only.
    scale = tf.reduce_max(tf.abs(single))
    distance = tf.reduce_max(tf.abs(stacked - tf.tile(single, [copies, *([1] * (single.shape.rank - 1))])))
    return bool(distance <= 1e-4 * scale)

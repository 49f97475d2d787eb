"""The explicit Jacobians themselves, kept on request, with those of the monolithic tape to compare them with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import TensorPlace
from gradcheck.comparing.reference import nudged
from gradcheck.cutting.cut import ancestors
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.run_calls import tapped
from gradcheck.cutting.segment import WholeGraph
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import RunError
from gradcheck.handoff.tensors import watch
from gradcheck.methods.by_segment.summands import origins
from gradcheck.numerics import NOISE_RUNS, movement
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Gradients
    from gradcheck.handoff.split import Pass
    from gradcheck.methods.by_segment.linear import Linearised, Observer
    from gradcheck.problem.problem import Problem, Weight

    Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pair:
    """Target and source of dTarget/dSource within one segment; the source is an input or a weight of the segment."""

    segment: Segment
    target: TensorRef
    source: TensorRef | Weight


@dataclass(eq=False)
class Kept:
    """The blocks of one Jacobian, assembled as (examples, R, C)."""

    values: Array

    def full(self, shape: tuple[int, ...]) -> Array:
        """Return the Jacobian in the shape of target and source together, with zeros between examples."""
        examples, rows, columns = self.values.shape
        whole = np.zeros((examples, rows, examples, columns), self.values.dtype)
        whole[np.arange(examples), :, np.arange(examples), :] = self.values
        return whole.reshape(shape)


class KeptJacobians:
    """Stores every block of the Jacobians of segments' outputs with respect to inputs and weights."""

    def __init__(self, problem: Problem) -> None:
        """Take names and the memory budget from `problem`."""
        self._problem = problem
        self._bytes = 0
        self.pairs: list[tuple[Pair, Kept]] = []

    def observer(self, done: Pass, linear: Linearised, cotangent: Array) -> Observer | None:  # noqa: ARG002 - as `Summands`
        """Return an observer that assembles the blocks of `linear`; None if the target is no output of the segment."""
        plan = done.segment.plan
        targets = [ref for ref, output in zip(plan.outputs, done.outputs, strict=True) if output is linear.target]
        if not targets:
            return None
        kept: dict[int, Kept] = {}
        for i, origin in origins(self._problem, done, linear).items():
            kept[i] = self._new(linear, i)
            self.pairs.append((Pair(done.segment, targets[0], origin), kept[i]))
        return _Collector(kept)

    def _new(self, linear: Linearised, index: int) -> Kept:
        shape = (linear.examples, linear.rows, linear.columns(index))
        # `full` adds the zeros between examples: `examples` times as many elements.
        self._bytes += 8 * linear.examples * int(np.prod(shape))
        if self._bytes > self._problem.memory_budget:
            raise RunError(
                f"report.jacobians would hold more than the memory budget of {self._problem.memory_budget} bytes",
                code="GC056",
                help="make the batch or the model smaller, or leave report.jacobians out: the gradients do not need it",
            )
        return Kept(np.zeros(shape))


class _Collector:
    """Writes blocks to their places in the Jacobians."""

    def __init__(self, kept: Mapping[int, Kept]) -> None:
        self._kept = kept

    def rows(self, index: int, chosen: range, block: Array) -> None:
        """Store J[:, chosen, :]."""
        if index in self._kept:
            self._kept[index].values[:, list(chosen), :] = np.swapaxes(block, 0, 1)

    def columns(self, index: int, chosen: range, block: Array) -> None:
        """Store J[:, :, chosen]."""
        if index in self._kept:
            self._kept[index].values[:, :, list(chosen)] = np.moveaxis(block, 0, 2)


def with_jacobians(problem: Problem, gradients: Gradients, kept: KeptJacobians) -> Gradients:
    """Return `gradients` with every Jacobian that the monolithic tape can compute too, and a remark on the rest.

    The whole model's tape computes total derivatives. They equal the segment's own if the source reaches the target
    through this segment alone.
    """
    comparable = [(pair, values) for pair, values in kept.pairs if _within_segment(problem, pair)]
    with problem.state.preserved():
        expected = _monolithic(problem, [pair for pair, _ in comparable], problem.batch.x)
    found: dict[TensorKey, Any] = {}
    against: dict[TensorKey, Any] = {}
    where: dict[TensorKey, TensorPlace] = {}
    for (pair, values), array in zip(comparable, expected, strict=True):
        key = TensorKey("jacobian", f"d {problem.graph.name(pair.target)} / d {_name(problem, pair.source)}")
        found[key], against[key] = values.full(array.shape).astype(array.dtype), array
        where[key] = TensorPlace((pair.segment.plan.index,), problem.graph.layer(pair.target), "jacobian")
    pairs = dict(zip(against, [pair for pair, _ in comparable], strict=True))

    def noise(keys: Collection[TensorKey]) -> Mapping[TensorKey, float]:
        own = [key for key in keys if key in against]
        others = [key for key in keys if key not in against]
        floors = _noise_floors(problem, against, pairs, own) if own else {}
        return {**floors, **(gradients.noise(others) if others and gradients.noise else {})}

    left_out = len(kept.pairs) - len(comparable)
    remark = f"{left_out} Jacobians are not shown: their source also reaches the target through other segments"
    return replace(
        gradients,
        tensors={**gradients.tensors, **found},
        against=against,
        places=where,
        way="by products of Jacobians",
        noise=noise,
        remarks=(*gradients.remarks, *([remark] if left_out else [])),
    )


def _name(problem: Problem, source: TensorRef | Weight) -> str:
    return problem.graph.name(source) if isinstance(source, TensorRef) else source.path


def _within_segment(problem: Problem, pair: Pair) -> bool:
    """Whether the source reaches the target through the pair's segment alone."""
    if not problem.shares_graph:
        return False
    if not isinstance(pair.source, TensorRef):
        return len(pair.source.segments) == 1
    # Any other path from the source enters the segment by another of its inputs.
    others = [ref for ref in pair.segment.plan.inputs if ref != pair.source]
    if pair.source.is_input:
        needed = ancestors(problem.graph, others)
        return not any(pair.source in problem.graph.calls[call].inputs for call in needed)
    return pair.source.call not in ancestors(problem.graph, others)


def _noise_floors(
    problem: Problem, against: Mapping[TensorKey, Array], pairs: Mapping[TensorKey, Pair], keys: Collection[TensorKey]
) -> dict[TensorKey, float]:
    """Return how far rounding moves the monolithic Jacobians of `keys`, measured as for the reference's gradients."""
    floors = dict.fromkeys(keys, 0.0)
    for run in range(NOISE_RUNS):
        with nudged(problem, run) as tensors:
            moved = _monolithic(problem, [pairs[key] for key in keys], tensors.x)
        floors = {key: max(floors[key], movement(against[key], m)) for key, m in zip(keys, moved, strict=True)}
    return floors


def _monolithic(problem: Problem, pairs: list[Pair], given: Sequence[Any]) -> list[Array]:
    """Return the Jacobians under one tape over the whole model, in the shape of target and source together."""
    wanted = {ref for pair in pairs for ref in (pair.target, pair.source) if isinstance(ref, TensorRef)}
    with tf.GradientTape(persistent=True) as tape:
        x = [copied(tensor) for tensor in given]
        watch(tape, x)
        taps = [ref for ref in wanted if not ref.is_input]
        if problem.graph.opened:  # the calls inside a layer's own `call` cannot be tapped: they run as traced
            whole = WholeGraph(
                problem.graph,
                dtype=problem.model.dtype_policy,
                separate=taps,
                on_copy=lambda copy: watch(tape, [copy]),
            )
            whole(x, training=problem.training)
            values = dict(whole.copies)
        else:
            with tapped(problem.graph, taps, lambda tap: watch(tape, [tap])) as values:
                keras.tree.flatten(problem.model(problem.model_inputs(x), training=problem.training))
    values |= {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(x)}
    # All of one target together: its backward pass is vectorised once, which takes most of the time.
    of_target: dict[TensorRef, list[int]] = {}
    for index, pair in enumerate(pairs):
        of_target.setdefault(pair.target, []).append(index)
    found: dict[int, Array] = {}
    for target, indices in of_target.items():
        sources = [pairs[index].source for index in indices]
        tensors = [values[s] if isinstance(s, TensorRef) else s.variable.value for s in sources]
        found.update(zip(indices, _jacobians(tape, values[target], tensors), strict=True))
    return [found[index] for index in range(len(pairs))]


def _jacobians(tape: tf.GradientTape, target: Any, sources: list[Any]) -> list[Array]:
    try:
        found = tape.jacobian(target, sources, unconnected_gradients="zero")
    except ValueError:  # an operation that cannot be vectorised, such as a loop: one row at a time
        found = tape.jacobian(target, sources, unconnected_gradients="zero", experimental_use_pfor=False)
    return [np.asarray(tf.convert_to_tensor(jacobian)) for jacobian in found]

"""The execution of a method: eagerly, as a graph or under XLA, from the snapshot and back to it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.handoff.interface import Computed, Gradients, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.problem.problem import Problem

    Body = Callable[[Problem, Tensors], Computed]


def batch_tensors(problem: Problem) -> Tensors:
    """Return the problem's batch as flat lists of tensors."""
    batch = problem.batch
    weight = None if batch.sample_weight is None else list(batch.sample_weight)
    return Tensors(list(batch.x), list(batch.y), weight, problem.loss_scale)


class Execution:
    """A method's body bound to a problem, compiled once however often it runs."""

    def __init__(self, problem: Problem, body: Body, *, execution: str | None = None, split: bool = True) -> None:
        """`execution` is eager, graph or xla, None for the problem's; `split` tells whose state the body moves."""
        self._problem, self._split = problem, split
        self._function = compiled(lambda tensors: body(problem, tensors), execution or problem.execution)

    def __call__(self, tensors: Tensors | None = None) -> Gradients:
        """Run from the snapshot, and restore weights and state. `tensors` replaces the problem's batch."""
        with self._problem.state.preserved():
            return self.run_as_it_is(tensors)

    def run_as_it_is(self, tensors: Tensors | None = None) -> Gradients:
        """Run from the current weights and state, and leave its changes to the state."""
        start = time.perf_counter()
        computed = self._function(tensors or batch_tensors(self._problem))
        seconds = time.perf_counter() - start
        return Gradients(
            loss=computed.loss,
            outputs=computed.outputs,
            tensors=computed.gradients,
            state=self._problem.state.read(split=self._split),
            seconds=seconds,
            part_norms=computed.part_norms,
        )


def compiled(function: Callable[[Tensors], Computed], execution: str) -> Callable[[Tensors], Computed]:
    """Return `function` itself, or a function that traces it at the first call: as one graph, or as one XLA program."""
    if execution == "eager":
        return function
    traced: list[Any] = []

    def run(tensors: Tensors) -> Computed:
        if not traced:
            whole = tf.function(function, autograph=False, jit_compile=execution == "xla")
            traced.append(whole.get_concrete_function(tensors))
        return traced[0](tensors)  # type: ignore[no-any-return]

    return run


@contextmanager
def eagerly() -> Iterator[None]:
    """Run each `tf.function` eagerly inside the block: tensors have values."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)  # noqa: FBT003 - TensorFlow's own signature
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)

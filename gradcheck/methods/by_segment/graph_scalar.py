"""`graph_scalar`: `graph` without `grad_ys`. The boundary is split into scalars, with one `tf.gradients` for each.

`tf.gradients(h, W)` is summed over the elements of h and has the shape of W; dL/dh has the shape of h: no product of
the two is dL/dW. That takes the Jacobian, one row for each element of h:

    dL/dW = dL/dh · dh/dW        of shapes (1, elements of h) and (elements of h, elements of W)

This is a backward pass for each element, and the whole Jacobian in memory, so it is for dense chains: models whose
segments each have one input and one output of shape (batch, units).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.errors import ConfigError, RunError
from gradcheck.handoff.tensors import added, dense
from gradcheck.methods.by_segment.graph import ByGraph, GraphRecord, in_graph
from gradcheck.problem.estimate import estimate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem


def graph_scalar(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the split model's gradients by one `tf.gradients` for each scalar of each boundary.

    Raises:
        ConfigError: GC027, if the model is no dense chain.
        RunError: GC056, if the Jacobians do not fit the memory budget.
    """
    for segment in problem.segments:
        plan = segment.plan
        if plan.index > 0:  # the model's own inputs may be of any kind
            _require_dense(problem, f"{plan.name} takes", plan.inputs)
        _require_dense(problem, f"{plan.name} hands on", plan.outputs)
    _require_memory(problem)
    return replace(in_graph(problem, ByScalars()), remarks=_why_scalars(problem))


class ByScalars(ByGraph):
    """A hand-off that differentiates each scalar of a segment's output separately."""

    def tape(self) -> Any:
        """Return the graph, differentiated scalar by scalar."""
        return ScalarRecord()


class ScalarRecord(GraphRecord):
    """The graph that is being traced, differentiated by explicit Jacobians without `grad_ys`."""

    def gradient(
        self, targets: Sequence[Any], sources: Sequence[Any], output_gradients: Sequence[Any] | None = None
    ) -> Sequence[Any]:
        """Return the sum over `targets` of the matrix product seed · Jacobian, for each of `sources`."""
        totals: list[Any] = [None] * len(sources)
        for target, seed in zip(targets, output_gradients or map(tf.ones_like, targets), strict=True):
            for i, part in enumerate(_product(target, seed, sources)):
                totals[i] = added(totals[i], part)
        return totals


def _product(target: Any, seed: Any, sources: Sequence[Any]) -> list[Any]:
    """Return seed · Jacobian of one target, for each source in its own shape; None without a path.

    The loop runs one `tf.gradients` for each scalar. Unrolled it would not scale: each call visits all operations that
    read a source, and so all that every call before it has added to the graph.
    """
    scalars = tf.reshape(target, [-1])
    reached = [i for i, row in enumerate(tf.gradients(scalars[0], sources)) if row is not None]
    outside = [
        tf.convert_to_tensor(getattr(sources[i], "handle", sources[i])) for i in reached
    ]  # outside the loop: captured inside, they would be the loop's own tensors

    def row(index: Any) -> list[Any]:
        return [dense(part) for part in tf.gradients(scalars[index], outside)]

    like = [tf.TensorSpec(sources[i].shape, sources[i].dtype) for i in reached]
    jacobians = tf.map_fn(row, tf.range(prod(target.shape)), fn_output_signature=like)
    parts: list[Any] = [None] * len(sources)
    for i, jacobian in zip(reached, jacobians, strict=True):
        rows = tf.reshape(jacobian, [prod(target.shape), -1])
        parts[i] = tf.reshape(tf.cast(tf.reshape(seed, [1, -1]), rows.dtype) @ rows, sources[i].shape)
    return parts


def _require_dense(problem: Problem, what: str, refs: Sequence[TensorRef]) -> None:
    """Raise unless there is just one float tensor of shape (batch, units)."""
    specs = [(problem.graph.name(ref), problem.graph.spec(ref)) for ref in refs]
    fits = [len(spec.shape) == _RANK and spec.shape[1] is not None and "float" in str(spec.dtype) for _, spec in specs]
    if fits != [True]:
        received = ", ".join(f"{name} {tuple(spec.shape)} {spec.dtype}" for name, spec in specs)
        raise ConfigError(
            "graph_scalar is for dense chains, whose segments each take and hand on one float tensor of shape (batch, "
            f"units). Received: {what} {received}",
            code="GC027",
            help="use the method `graph`, which takes any model, or cut where one such tensor crosses",
        )


_RANK = 2  # of (batch, units)


def _require_memory(problem: Problem) -> None:
    budget, batch_size = problem.memory_budget, problem.batch.size
    needed = estimate(problem.graph, problem.segments, (), batch_size, budget=budget).jacobian_full
    if needed > budget:
        raise RunError(
            f"graph_scalar makes whole Jacobians, which come to {needed / 2**30:.3g} GiB; the memory budget is "
            f"{budget / 2**30:.3g} GiB",
            code="GC056",
            help="use the method `graph`, make the model or data.batch_size smaller, or raise memory_budget",
        )


def _why_scalars(problem: Problem) -> tuple[str, ...]:
    """Explain why the boundary is split into scalars, by the shapes of the first boundary and a weight before it."""
    batch_size, weights = problem.batch.size, [w for w in problem.weights if 0 in w.segments]
    if len(problem.segments) == 1 or not weights:
        return ()
    (ref,) = problem.segments[0].plan.outputs
    h, w = problem.graph.name(ref), weights[0]
    h_shape, w_shape = (batch_size, problem.graph.spec(ref).shape[1]), tuple(w.variable.shape)
    note = (
        f"tf.gradients({h}, {w.path}) has the shape {w_shape} of {w.path}, summed over the {prod(h_shape)} elements of "
        f"{h}; dL/d{h} has the shape {h_shape} of {h}: no product of the two is the gradient of {w.path}. It takes the "
        f"Jacobian, a tf.gradients for each of the {prod(h_shape)} elements"
    )
    return (note,)

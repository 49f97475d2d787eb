"""All that a method found under one set of keys, and as NumPy sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from gradcheck.models.endpoints import output_names
from gradcheck.models.problem import TensorKey
from gradcheck.models.state import state_variables
from gradcheck.numerics import SparseRows

if TYPE_CHECKING:
    from gradcheck.gradients.interface import Gradients
    from gradcheck.models.graph import TensorRef
    from gradcheck.models.problem import Problem

LOSS = TensorKey("loss", "loss")


def named_tensors(problem: Problem, gradients: Gradients) -> dict[TensorKey, Any]:
    """Gradients, outputs, loss and state of one method by key; what the method did not supply has no key."""
    outputs = dict(zip(output_names(problem.model), gradients.outputs, strict=False))
    named = {TensorKey("output", name): tensor for name, tensor in outputs.items()}
    if gradients.loss is not None:
        named[LOSS] = gradients.loss
    named |= gradients.tensors
    return named | {TensorKey("state", path): tensor for path, tensor in gradients.state.items()}


class Place(NamedTuple):
    """Where a tensor belongs: the segments that use or make it (none for a model input), its layer, its name there."""

    segments: tuple[int, ...]
    layer: str
    name: str


def places(problem: Problem) -> dict[TensorKey, Place]:
    """The place of every tensor that a method may supply."""
    graph = problem.graph
    owner = {call: s.plan.index for s in problem.segments for call in s.plan.calls}
    where = {LOSS: Place((), "loss", "loss")}
    for name, ref in zip(output_names(problem.model), graph.outputs, strict=False):
        where[TensorKey("output", name)] = Place(_segments(owner, ref), graph.layer(ref), "output")
    for i in range(len(problem.model.inputs)):
        key = problem.input_key(i)
        where[key] = Place((), key.path, "input")
    where |= {weight.key: Place(weight.segments, weight.layer, weight.name) for weight in problem.weights}
    for ref in problem.plan.boundaries if problem.plan else ():
        where[problem.boundary_key(ref)] = Place(_segments(owner, ref), graph.layer(ref), "output")
    users = {id(s.variable): i for i, seg in reversed([*enumerate(problem.segments)]) for s in state_variables([seg])}
    for state in problem.state.variables:
        user = users.get(id(state.variable))
        where[TensorKey("state", state.path)] = Place(() if user is None else (user,), state.layer, state.name)
    return where


def _segments(owner: dict[int, int], ref: TensorRef) -> tuple[int, ...]:
    return (owner[ref.call],) if ref.call in owner else ()


def as_array(tensor: Any) -> np.ndarray[Any, Any] | SparseRows | None:
    """A tensor as NumPy sees it, without a copy; `IndexedSlices` stay sparse."""
    if tensor is None:
        return None
    if isinstance(tensor, tf.IndexedSlices):
        shape = tuple(int(n) for n in np.asarray(tensor.dense_shape))
        return SparseRows(indices=np.asarray(tensor.indices), values=np.asarray(tensor.values), shape=shape)
    return np.asarray(tensor)

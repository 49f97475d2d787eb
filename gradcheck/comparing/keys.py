"""The tensors of a method under one set of keys, and as NumPy arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.endpoints import output_names
from gradcheck.building.state_variables import state_variables
from gradcheck.handoff.arrivals import Agreeing
from gradcheck.numerics import SparseRows, to_array
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem

LOSS = TensorKey("loss", "loss")


def named_tensors(problem: Problem, gradients: Gradients) -> dict[TensorKey, Any]:
    """Return gradients, outputs, loss and state of a method by key; a tensor that it did not supply has no key."""
    outputs = dict(zip(output_names(problem.model), gradients.outputs, strict=False))
    named = {TensorKey("output", name): tensor for name, tensor in outputs.items()}
    if gradients.loss is not None:
        named[LOSS] = gradients.loss
    named |= gradients.tensors
    return named | {TensorKey("state", path): tensor for path, tensor in gradients.state.items()}


class TensorPlace(NamedTuple):
    """Where a tensor belongs: the segments that use or make it (none for a model input), its layer, its name there.

    `like` has the shape and dtype that the tensor would have, in case it is absent on both sides.
    """

    segments: tuple[int, ...]
    layer: str
    name: str
    like: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, with 0 for an axis of unknown length."""
        return () if self.like is None else tuple(axis or 0 for axis in self.like.shape)

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return "" if self.like is None else str(tf.as_dtype(self.like.dtype).name)


def places(problem: Problem) -> dict[TensorKey, TensorPlace]:
    """Return the place of every tensor that a method may supply."""
    graph, batch_size = problem.graph, problem.batch.size
    owner = {call: s.plan.index for s in problem.segments for call in s.plan.calls}
    where = {LOSS: TensorPlace((), "loss", "loss")}
    for name, ref in zip(output_names(problem.model), graph.outputs, strict=False):
        where[TensorKey("output", name)] = TensorPlace(_segments(owner, ref), graph.layer(ref), "output")
    for i in range(len(problem.model.inputs)):
        key = problem.input_key(i)
        where[key] = TensorPlace((), key.path, "input", problem.batch.x[i])
    where |= {w.key: TensorPlace(w.segments, w.layer, w.name, w.variable) for w in problem.weights}
    for ref in problem.plan.boundaries if problem.plan else ():
        like = _sized(graph.spec(ref), batch_size)
        where[problem.boundary_key(ref)] = TensorPlace(_segments(owner, ref), graph.layer(ref), "output", like)
    users = {id(s.variable): i for i, seg in reversed([*enumerate(problem.segments)]) for s in state_variables([seg])}
    for state in problem.state.variables:
        user = users.get(id(state.variable))
        where[TensorKey("state", state.path)] = TensorPlace(() if user is None else (user,), state.layer, state.name)
    return where


def _sized(spec: Any, batch_size: int) -> Any:
    """Return `spec` with the batch axis of the actual batch."""
    open_batch = bool(spec.shape) and spec.shape[0] is None
    return keras.KerasTensor((batch_size, *spec.shape[1:]), spec.dtype) if open_batch else spec


def _segments(owner: dict[int, int], ref: TensorRef) -> tuple[int, ...]:
    return (owner[ref.call],) if ref.call in owner else ()


def as_array(tensor: Any) -> np.ndarray[Any, Any] | SparseRows | None:
    """Return a tensor as a NumPy array without a copy, or as `SparseRows` for `IndexedSlices`; None stays None.

    A gradient that was compared when it arrived is the reference's, with which it agrees.
    """
    if isinstance(tensor, Agreeing):
        tensor = tensor.expected()
    if tensor is None or isinstance(tensor, SparseRows):
        return tensor
    if isinstance(tensor, tf.RaggedTensor):
        tensor = tensor.to_tensor()
    if isinstance(tensor, tf.IndexedSlices):
        shape = tuple(int(n) for n in np.asarray(tensor.dense_shape))
        return SparseRows(indices=np.asarray(tensor.indices), values=np.asarray(tensor.values), shape=shape)
    if isinstance(tensor, tf.Tensor) and tensor.ndim == 0:
        return np.asarray(tensor.numpy())  # NumPy cannot make an array of a bfloat16 scalar by itself
    return np.asarray(tensor)


def as_float64(tensor: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """Return a tensor as a dense array in double precision."""
    array = as_array(tensor)
    return None if array is None else to_array(array).astype(np.float64)

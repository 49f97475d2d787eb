"""Layers made of layers for the tests of tracing, and one side of a comparison: an object, or the calls found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gradcheck.building.sources.subclassed import functional
from gradcheck.building.state import State
from gradcheck.cutting.model_graph import flatten
from gradcheck.cutting.segment import WholeGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.cutting.model_graph import Graph


class Composite(keras.layers.Layer):
    """Layers by name, and a `call` that is a function of the layer itself and what it is called with."""

    def __init__(self, call: Callable[..., Any], name: str | None = None, **held: Any) -> None:
        super().__init__(name=name)
        self.run = call
        for attribute, value in held.items():
            setattr(self, attribute, value)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.run(self, x, training)


def dense(units: int = 3, **more: Any) -> keras.Layer:
    return layers.Dense(units, **more)


def plain(layer: Any, x: Any, training: Any = None) -> Any:  # noqa: ARG001 - the signature of a call
    return layer.dense(x)


def block(call: Callable[..., Any] = plain, name: str | None = None, **held: Any) -> Composite:
    """A composite around one dense layer, and what else is given."""
    return Composite(call, name, **{"dense": dense(), **held})


def around(*inner: keras.Layer) -> Composite:
    """A composite that calls its layers one after the other."""

    def call(layer: Any, x: Any, training: Any = None) -> Any:  # noqa: ARG001 - the signature of a call
        for part in layer.inner:
            x = part(x)
        return x

    return Composite(call, inner=list(inner))


def symbolic(*shape: int | None, dtype: str = "float32") -> Any:
    return keras.KerasTensor((None, *shape), dtype)


def graph_of(layer: keras.Layer, *inputs: Any, training: bool = True, **more: Any) -> Graph:
    """The calls of a layer on symbolic tensors; on one of shape (None, 3) by default."""
    given = inputs or (symbolic(3),)
    return flatten(wrapped(layer, *given), training=training, **more)


def wrapped(layer: keras.Layer, *inputs: Any) -> keras.Model:
    return functional(layer, inputs[0] if len(inputs) == 1 else list(inputs), "the layer")


def reasons(layer: keras.Layer, *inputs: Any, **more: Any) -> dict[str, str]:
    """Why layers stay one call, by their paths."""
    return {closed.path: closed.reason for closed in graph_of(layer, *inputs, **more).closed}


def names(graph: Graph) -> list[str]:
    return [call.name for call in graph.calls]


def computed(run: Callable[[list[Any]], Any], holder: Any, state: State, x: Sequence[Any]) -> dict[str, Any]:
    """Outputs, masks, losses, gradients and the state after one run, as NumPy arrays."""
    with state.preserved(), tf.GradientTape() as tape:
        values = [tf.identity(value) for value in x]
        tape.watch(values)
        outputs = keras.tree.flatten(run(values))
        losses = list(holder.losses)
        floating = [output for output in outputs if output.dtype.is_floating]
        weighted = [tf.reduce_sum(tf.cast(out, "float32") * _weights(out.shape)) for out in floating]
        target = tf.add_n([*weighted, *(tf.cast(tf.reduce_sum(loss), "float32") for loss in losses)])
        sources = [*values, *(v.value for v in state.movable)]
        with tape.stop_recording():
            found = tape.gradient(target, sources)
        after = [v.value.numpy() for v in state.movable]  # a copy: `asarray` shows what is assigned later
    return {
        "outputs": [np.asarray(tf.cast(out, "float32")) for out in outputs],
        "masks": [None if (m := getattr(out, "_keras_mask", None)) is None else np.asarray(m) for out in outputs],
        "losses": sorted(float(tf.reduce_sum(loss)) for loss in losses),
        "gradients": [None if g is None else np.asarray(tf.convert_to_tensor(g)) for g in found],
        "state": after,
    }


def _weights(shape: Any) -> Any:
    return tf.constant(np.random.default_rng(1).normal(size=shape), "float32")


def both(
    model: keras.Model, *x: Any, training: bool = True, graph: Graph | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a model computes on `x`, and what the calls found in it compute, from the same state."""
    found = flatten(model, training=training) if graph is None else graph
    whole = WholeGraph(found, dtype=model.dtype_policy)
    state = State([model], seed=0)
    values = [tf.constant(value) for value in x]
    packed = lambda given: given[0] if len(given) == 1 else given  # noqa: E731 - as the model takes it
    ours = computed(lambda given: model(packed(given), training=training), model, state, values)
    theirs = computed(lambda given: whole(given, training=training), whole.segment, state, values)
    return ours, theirs


def assert_same(model: keras.Model, *x: Any, training: bool = True, graph: Graph | None = None) -> dict[str, Any]:
    """Require that the calls found in a model compute bit for bit what it does; return what that is."""
    ours, theirs = both(model, *x, training=training, graph=graph)
    for what, values in ours.items():
        assert len(values) == len(theirs[what]), what
        for index, (one, other) in enumerate(zip(values, theirs[what], strict=True)):
            np.testing.assert_array_equal(other, one, err_msg=f"{what} {index}")
    return ours


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")

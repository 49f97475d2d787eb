"""Layers made of layers that stay one call in a graph, and why."""

# ruff: noqa: ARG001, ARG005 - every function that stands for a `call` takes what Keras gives

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gradcheck.building.sources.subclassed import functional
from gradcheck.cutting.model_graph import flatten
from gradcheck.cutting.tracing import is_composite
from tests.cutting.traced_models import (
    Composite,
    around,
    assert_same,
    block,
    dense,
    graph_of,
    names,
    numbers,
    reasons,
    symbolic,
    wrapped,
)

X = numbers(4, 3)

pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking")


@pytest.fixture(autouse=True)
def _session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def test_which_layers_are_looked_into() -> None:
    x = keras.Input((3,))
    own_call = type("Own", (keras.Model,), {"call": lambda self, x: 2.0 * super(keras.Model, self).call(x)})
    assert is_composite(block())
    assert is_composite(own_call(x, dense()(x)))
    assert not is_composite(keras.Model(x, dense()(x)))
    assert not is_composite(type("Own", (keras.Model,), {})(x, dense()(x)))
    assert not is_composite(layers.Bidirectional(layers.LSTM(2)))
    assert not is_composite(Composite(lambda layer, x, training: x))
    assert not is_composite(ops.relu)


def on_value(layer: Any, x: Any, training: Any = None) -> Any:
    return layer.dense(x) if ops.sum(x) > 0 else layer.dense(-x)


def by_tensorflow(layer: Any, x: Any, training: Any = None) -> Any:
    return tf.nn.relu(layer.dense(x))


def by_tape(layer: Any, x: Any, training: Any = None) -> Any:
    h = layer.dense(x)
    with tf.GradientTape() as tape:
        tape.watch(h)
        y = h * h
    return tape.gradient(y, h)


def by_numpy(layer: Any, x: Any, training: Any = None) -> Any:
    return layer.dense(x) * np.max(np.asarray(x))


def reads_a_value(layer: Any, x: Any, training: Any = None) -> Any:
    return layer.dense(x) * tf.exp(layer.weight)


def assigns(layer: Any, x: Any, training: Any = None) -> Any:
    layer.weight.assign(ops.ones(3))
    return layer.dense(x)


def variable_first(layer: Any, x: Any, training: Any = None) -> Any:
    return layer.weight * layer.dense(x)


def with_functions(layer: Any, x: Any, training: Any = None) -> Any:
    return ops.cond(ops.sum(x) > 0, lambda: layer.dense(x), lambda: x)


def constant_loss(layer: Any, x: Any, training: Any = None) -> Any:
    layer.add_loss(tf.constant(1.0))
    return layer.dense(x)


def of_its_own(layer: Any, x: Any, training: Any = None) -> Any:
    if isinstance(x, keras.KerasTensor):
        raise LookupError("no such thing")  # noqa: TRY004 - any will do
    return layer.dense(x)


CLOSED = [
    (on_value, "it branches on a value"),
    (by_tensorflow, "it calls a TensorFlow function, which takes no symbolic tensor (functions of keras.ops do)"),
    (by_tape, "it hands a tensor to a part of TensorFlow, such as a gradient tape, that takes no symbolic one"),
    (by_numpy, "it needs the values of a tensor, as NumPy and a tf.function do"),
    (reads_a_value, "it uses the value of"),
    (assigns, "it uses the value of"),
    (variable_first, "in `variable + tensor` Keras's variable takes no symbolic tensor"),
    (with_functions, "inner/1/cond runs functions of its own on values"),
    (constant_loss, "it adds a loss that does not depend on its inputs"),
    (of_its_own, "on symbolic tensors it raises LookupError: no such thing"),
]


@pytest.mark.parametrize(("call", "reason"), CLOSED, ids=lambda value: getattr(value, "__name__", ""))
def test_why_a_layer_stays_one_call(call: Any, reason: str) -> None:
    weight = keras.Variable(np.ones(3, "float32"), name="weight")
    model = wrapped(around(dense(), block(call, weight=weight), block()), symbolic(3))
    graph = flatten(model)
    assert names(graph) == ["inner/0", "inner/1", "inner/2/dense"]
    (closed,) = graph.closed
    assert (closed.path, closed.kind) == ("inner/1", "Composite")
    assert closed.reason.startswith(reason)
    assert_same(model, X)


def test_the_note_names_the_layer_its_class_the_reason_and_the_line() -> None:
    (inner,) = graph_of(around(dense(), block(on_value))).closed
    line = inner.location.line if inner.location else None
    assert inner.note == (
        "inner/1 (Composite) stays one call and is not cut inside: it branches on a value "
        f"(test_closed_layers.py:{line}: `return layer.dense(x) if ops.sum(x) > 0 else layer.dense(-x)`)"
    )
    (whole,) = graph_of(block(on_value)).closed
    assert whole.note.startswith("the model (Composite) stays one call and is not cut inside: it branches on a value (")


def test_a_layer_that_stays_one_call_is_not_opened_inside_and_its_calls_are_forgotten() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        h = layer.dense(layer.before(x))
        return h if ops.sum(h) > 0 else layer.after(h)

    model = wrapped(around(block(), block(call, before=block(), after=block(on_value))), symbolic(3))
    graph = flatten(model)
    assert names(graph) == ["inner/0/dense", "inner/1"]
    assert [opened.path for opened in graph.opened] == ["inner/0", ""]
    assert [closed.path for closed in graph.closed] == ["inner/1"]
    assert_same(model, X)


def test_layers_that_are_shut_stay_one_call_for_the_reason_given() -> None:
    inner, outer = block(), None
    outer = around(inner, dense())
    assert reasons(outer, shut={id(inner): "because"}) == {"inner/0": "because"}
    graph = graph_of(outer, shut={id(outer): "because"})
    assert ([closed.note for closed in graph.closed], len(graph.calls)) == (
        ["the model (Composite) stays one call and is not cut inside: because"],
        1,
    )


def test_a_layer_with_an_activity_regularizer_stays_one_call() -> None:
    layer = block()
    layer.activity_regularizer = keras.regularizers.L2(0.1)
    model = wrapped(around(layer, block()), symbolic(3))
    graph = flatten(model)
    assert [(closed.path, closed.reason) for closed in graph.closed] == [
        ("inner/0", "its activity regularizer adds a loss after its call")
    ]
    assert len(assert_same(model, X)["losses"]) == 1


@pytest.mark.keras("3.9")
def test_a_layer_that_keras_recomputes_stays_one_call() -> None:
    with keras.RematScope(mode="full"):
        inner = block()
    assert reasons(around(inner, block())) == {"inner/0": "Keras recomputes it in the backward pass"}


def test_a_layer_inside_that_returns_no_tensor_closes_the_one_around() -> None:
    class Sizes(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x, x.shape[-1]

    def call(layer: Any, x: Any, training: Any = None) -> Any:
        h, size = layer.sizes(x)
        return layer.dense(h) / size

    (closed,) = graph_of(block(call, sizes=Sizes(name="sizes"))).closed
    assert closed.reason == "sizes returns something that is no tensor"


def test_what_a_closed_layer_returns_is_found_by_an_example_where_nothing_else_tells() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x) if float(tf.reduce_sum(x)) > 0 else layer.dense(-x)

    model = functional(around(block(call), dense(2)), symbolic(3), "the model", batch_size=4)
    graph = flatten(model)
    assert names(graph) == ["inner/0", "inner/1"]
    assert tuple(graph.calls[0].outputs[0].shape) == (None, 3)
    assert_same(model, X)


def test_a_closed_layer_may_draw_random_numbers() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        noise = keras.random.normal((3,), seed=layer.seeds)
        return on_value(layer, x + noise)

    model = wrapped(around(dense(), block(call, seeds=keras.random.SeedGenerator(3)), block()), symbolic(3))
    assert names(flatten(model)) == ["inner/0", "inner/1", "inner/2/dense"]
    assert_same(model, X)

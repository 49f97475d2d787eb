"""The calls found inside layers made of layers: what they compute."""

# ruff: noqa: ARG001 - every function that stands for a `call` takes what Keras gives

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gradcheck.building.precision import precision_scope
from gradcheck.cutting.model_graph import flatten
from gradcheck.cutting.tracing.operations import AddedLoss, MaskOf
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


# What is found


def test_calls_in_the_order_of_the_program_named_by_attributes() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        h = ops.relu(layer.first(x))
        return layer.last(h) + layer.first(h)

    graph = graph_of(Composite(call, last=dense(), first=dense()))
    assert names(graph) == ["first", "relu", "last", "first:2", "add"]
    assert [[graph.name(ref) for ref in call.inputs] for call in graph.calls] == [
        ["input"],
        ["first"],
        ["relu"],
        ["relu"],
        ["last", "first:2"],
    ]


def test_every_layer_at_any_depth_knows_its_calls_and_what_it_takes_and_returns() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x * 2.0) + x

    model = wrapped(around(dense(), block(call), dense()), symbolic(3))
    graph = flatten(model)
    assert names(graph) == ["inner/0", "inner/1/multiply", "inner/1/dense", "inner/1/add", "inner/2"]
    inner, whole = graph.opened
    assert (inner.path, inner.calls, inner.layer) == ("inner/1", range(1, 4), model.layers[1].inner[1])
    assert (whole.path, whole.calls, whole.layer) == ("", range(5), model.layers[1])
    assert [graph.name(source.ref) for source in (*inner.arguments, *inner.outputs) if source] == [
        "inner/0",
        "inner/1/add",
    ]
    assert inner.masks == (None,)
    assert_same(model, X)


def test_an_operation_without_use_is_left_out_and_a_layer_is_kept() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        ops.exp(x)
        layer.norm(x)
        return layer.dense(x)

    model = wrapped(around(block(call, norm=layers.BatchNormalization()), dense()), symbolic(3))
    graph = flatten(model)
    assert names(graph) == ["inner/0/norm", "inner/0/dense", "inner/1"]
    assert [opened.calls for opened in graph.opened] == [range(2), range(3)]
    assert_same(model, X)  # the state of the layer moves


def test_what_an_added_loss_needs_is_kept_and_the_loss_is_added() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        h = layer.dense(x)
        layer.add_loss(0.1 * ops.sum(ops.square(h)))
        return h

    model = wrapped(around(block(call), block(call)), symbolic(3))
    graph = flatten(model)
    assert [type(call.operation) for call in graph.calls].count(AddedLoss) == 2
    assert len(assert_same(model, X)["losses"]) == 2


def test_a_layer_called_twice_is_listed_twice() -> None:
    shared = block()
    model = wrapped(around(shared, layers.ReLU(), shared), symbolic(3))
    graph = flatten(model)
    assert names(graph) == ["inner/0/dense", "inner/1", "inner/0/dense:2"]
    assert [opened.calls for opened in graph.opened] == [range(1), range(2, 3), range(3)]
    assert set(graph.groups) == {"inner/0", "inner/0:2"}
    assert_same(model, X)


@pytest.mark.parametrize("outer", [True, False])
def test_the_flag_of_a_call_holds_whatever_the_flag_of_the_whole(outer: bool) -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.late(layer.always(layer.never(layer.dense(x), training=False), training=True), training=training)

    made = {name: layers.BatchNormalization() for name in ("never", "always", "late")}
    model = wrapped(block(call, **made), symbolic(3))
    graph = flatten(model, training=outer)
    flags = {call.name: call.training for call in graph.calls}
    assert flags == {"dense": None, "never": False if outer else None, "always": None if outer else True, "late": None}
    assert_same(model, X, training=outer)


def test_a_flag_at_construction_gives_way_to_that_of_the_whole() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x) if training else ops.tanh(x)

    x = keras.Input((3,))
    layer = block(call, name="b")
    layer.dense.build((None, 3))
    model = keras.Model(x, layer(x, training=False))
    assert names(flatten(model, training=True)) == ["b/dense"]
    assert_same(model, X, training=True)


def test_a_flag_holds_for_the_calls_after_it_as_it_does_in_keras() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.late(layer.never(layer.dense(x), training=False))

    layer = block(call, never=layers.Dropout(0.5), late=layers.Dropout(0.5))
    model = wrapped(layer, symbolic(3))
    np.testing.assert_array_equal(assert_same(model, X)["outputs"][0], layer.dense(X))


@pytest.mark.parametrize("training", [True, False])
def test_layers_inside_one_that_takes_no_flag_have_that_of_the_whole(training: bool) -> None:
    class Inner(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.drop, self.norm = dense(), layers.Dropout(0.5), layers.BatchNormalization()

        def call(self, x: Any) -> Any:
            return self.norm(self.drop(self.dense(x)))

    for layer in (Inner(), around(Inner())):
        model = wrapped(layer, symbolic(3))
        assert {call.training for call in flatten(model, training=training).calls} == {None}
        assert_same(model, X, training=training)


def test_the_flag_of_a_layer_holds_for_all_inside_it() -> None:
    drop = keras.Sequential([layers.Dropout(0.5, seed=1), layers.Dropout(0.5, seed=2)], name="drops")

    def inner(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.drop(layer.dense(x)) if training is False else x

    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.part(x, training=False)

    model = wrapped(Composite(call, part=block(inner, drop=drop)), symbolic(3))
    graph = flatten(model)
    assert [(call.name, call.training) for call in graph.calls] == [
        ("part/dense", False),
        ("part/drop/dropout", False),
        ("part/drop/dropout_1", False),
    ]
    assert_same(model, X)


def test_a_call_may_branch_on_the_flag() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x) if training else ops.tanh(x)

    layer = block(call)
    assert names(graph_of(layer, training=True)) == ["dense"]
    assert names(graph_of(layer, training=False)) == ["tanh"]


def test_the_flag_of_a_model_holds_for_layers_that_are_traced_inside_it() -> None:
    def inner(layer: Any, x: Any, training: Any = None) -> Any:
        return ops.relu(layer.drop(layer.dense(x), training=training)) if training is False else ops.tanh(x)

    part = block(inner, name="part", drop=layers.Dropout(0.5))
    part.dense.build((None, 3))
    held = keras.Sequential([keras.Input((3,)), part], name="held")

    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.held(layer.dense(x), training=False)

    model = wrapped(block(call, held=held), symbolic(3))
    graph = flatten(model, training=True)
    assert [(call.name, call.training) for call in graph.calls] == [
        ("dense", None),
        ("held/part/dense", False),
        ("held/part/drop", False),
        ("held/part/relu", False),
    ]
    assert_same(model, X, training=True)


# Masks


def embedding() -> keras.Layer:
    return layers.Embedding(5, 3, mask_zero=True)


TOKENS = np.array([[1, 2, 0, 0], [3, 4, 1, 0]])


def test_masks_flow_inside() -> None:
    model = wrapped(around(embedding(), layers.LSTM(2)), symbolic(4, dtype="int32"))
    ours = assert_same(model, TOKENS)["outputs"][0]
    inner = model.layers[-1].inner
    assert not np.allclose(ours, inner[1](tf.identity(inner[0](TOKENS)))), "the mask must matter"


def test_a_mask_that_comes_in_reaches_the_layers_inside() -> None:
    x = keras.Input((4,), dtype="int32", name="x")
    inside = around(layers.Dropout(0.5), layers.LSTM(2))
    model = keras.Model(x, inside(embedding()(x)))
    graph = flatten(model)
    mask = next(call for call in graph.calls if isinstance(call.operation, MaskOf))
    opened = graph.opened[-1]
    assert [graph.name(source.ref) for source in opened.masks if source] == [mask.name]
    assert mask.index == opened.calls.start - 1
    ours = assert_same(model, TOKENS, training=False)["outputs"][0]
    assert not np.allclose(ours, inside(tf.identity(model.layers[1](TOKENS)), training=False)), "the mask must matter"


def test_code_may_take_the_mask_off_a_tensor() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.lstm(ops.tanh(x), mask=getattr(x, "_keras_mask", None))

    x = keras.Input((4,), dtype="int32", name="x")
    model = keras.Model(x, Composite(call, lstm=layers.LSTM(2))(embedding()(x)))
    assert [type(call.operation).__name__ for call in flatten(model).calls][-3:] == ["MaskOf", "Tanh", "LSTM"]
    assert_same(model, TOKENS)


def test_code_that_asks_for_the_mask_gets_it() -> None:
    class Mean(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense()

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, x: Any, mask: Any = None) -> Any:
            return ops.sum(self.dense(x) * ops.cast(ops.expand_dims(mask, -1), x.dtype), axis=1)

    x = keras.Input((4,), dtype="int32", name="x")
    model = keras.Model(x, Mean()(embedding()(x)))
    graph = flatten(model)
    assert [opened.calls for opened in graph.opened] == [range(2, 7)]
    assert_same(model, TOKENS)


def test_a_mask_that_a_layer_sets_on_what_it_returns_is_set() -> None:
    class Masking(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense()

        def call(self, x: Any) -> Any:
            return self.dense(x)

        def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002 - Keras's signature
            return ops.any(ops.not_equal(inputs, 0.0), axis=-1)

    model = wrapped(around(Masking(), layers.LSTM(2)), symbolic(4, 3))
    assert any(call.name == "inner/0/mask" for call in flatten(model).calls)
    x = numbers(2, 4, 3)
    x[0, 2:] = 0.0
    ours = assert_same(model, x)["outputs"][0]
    inner = model.layers[-1].inner
    assert not np.allclose(ours, inner[1](tf.identity(inner[0](x)))), "the mask must matter"
    alone = assert_same(wrapped(Masking(), symbolic(4, 3)), x)["masks"]
    np.testing.assert_array_equal(alone, [[[True, True, False, False], [True, True, True, True]]])


# Constants, variables and random numbers


def test_a_layer_on_a_constant_is_called_each_time() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x + layer.positions(ops.arange(4)))

    model = wrapped(block(call, positions=layers.Embedding(4, 3)), symbolic(4, 3))
    assert names(flatten(model)) == ["positions", "add", "dense"]
    found = assert_same(model, numbers(2, 4, 3))
    assert all(np.abs(gradient).sum() for gradient in found["gradients"][:4])


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_functions_of_variables_are_called_each_time(precision: Any) -> None:
    class Scaled(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = dense()
            self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")
            self.shift = self.add_weight(shape=(3,), initializer="ones", name="shift")

        def call(self, x: Any) -> Any:
            return ops.add(self.dense(x) * ops.exp(self.scale), self.shift)  # `+` on values sums gradients otherwise

    with precision_scope(precision):
        model = wrapped(Scaled(), symbolic(3))
        graph = flatten(model)
        assert [name for name in names(graph) if name != "cast"] == ["dense", "exp", "multiply", "add"]
        half = None if precision == "float32" else precision.removeprefix("mixed_")
        assert {call.name: call.autocast for call in graph.calls}["exp"] == half
        assert {call.outputs[0].dtype for call in graph.calls} == {half or "float32"}
        assert_same(model, X)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("mixed_float16", "float32"), ("float32", "mixed_float16"), ("mixed_float16", "mixed_bfloat16")],
)
def test_variables_are_cast_as_in_the_layer_around_the_call(outer: Any, inner: str) -> None:
    class Scaled(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(dtype=inner)
            self.dense = dense(dtype=inner)
            self.scale = self.add_weight(shape=(3,), initializer="uniform", name="scale")

        def call(self, x: Any) -> Any:
            return ops.multiply(self.dense(x), ops.exp(self.scale))

    with precision_scope(outer):
        model = wrapped(around(dense(), Scaled(), dense()), symbolic(3))
        graph = flatten(model)
        assert {call.name: call.autocast for call in graph.calls}["inner/1/exp"] in (None, inner.removeprefix("mixed_"))
        assert_same(model, X)


def test_what_a_variable_makes_is_not_taken_for_sparse() -> None:
    class Tied(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.embed = layers.Embedding(5, 3)
            self.gain = self.add_weight(shape=(5,), initializer="ones", name="gain")

        def call(self, x: Any) -> Any:
            return ops.multiply(ops.matmul(self.embed(x), ops.transpose(self.embed.embeddings)), self.gain)

    model = wrapped(around(Tied(), dense()), symbolic(4, dtype="int32"))
    graph = flatten(model)
    assert not any(tensor.sparse for call in graph.calls for tensor in call.outputs)
    assert_same(model, TOKENS)


def test_random_numbers_are_drawn_each_time_and_none_while_tracing() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x) + keras.random.normal(ops.shape(x), seed=layer.seeds)

    layer = block(call, seeds=keras.random.SeedGenerator(7))
    model = wrapped(layer, symbolic(3))
    before = layer.seeds.state.value.numpy()
    graph = flatten(model, batch_size=4)
    np.testing.assert_array_equal(layer.seeds.state, before)
    assert "normal" in names(graph)
    assert_same(model, X, graph=graph)


def test_a_function_of_a_variable_that_returns_no_tensor_is_called_at_once() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return layer.dense(x) * (3.0 if ops.is_tensor(layer.weight) else 2.0)

    model = wrapped(block(call, weight=keras.Variable(np.ones(3, "float32"))), symbolic(3))
    assert names(flatten(model)) == ["dense", "multiply"]
    assert_same(model, X)


def test_arrays_on_the_left_of_operators() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return np.float32([1.0, 2.0, 3.0]) * layer.dense(x) - np.eye(3, dtype="float32")[0] / (2.0 + x * x)

    assert reasons(block(call)) == {}
    assert_same(wrapped(block(call), symbolic(3)), X)


def test_a_length_that_code_reads_is_that_of_the_batch() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        return ops.reshape(layer.dense(x), (x.shape[0] * 3,))

    layer = block(call)
    model = wrapped(layer, symbolic(3))
    assert reasons(layer) == {"": "on symbolic tensors it raises TypeError: " + _TIMES}
    graph = flatten(model, batch_size=4)
    assert (names(graph), graph.batch_size, graph.closed) == (["dense", "reshape"], 4, ())
    assert_same(model, X, graph=graph)


_TIMES = "unsupported operand type(s) for *: 'NoneType' and 'int'"


# Tracing leaves everything as it was


def test_attributes_and_what_lists_and_mappings_hold_are_as_before() -> None:
    def call(layer: Any, x: Any, training: Any = None) -> Any:
        layer.last = h = layer.dense(x)
        layer.new = 1
        layer.seen.append(h)
        layer.by_name["h"] = h
        layer.inner.calls += 1
        vars(layer).pop("gone", None)
        return layer.inner(h)

    layer = block(call, last=None, gone=3, inner=block())
    vars(layer)["seen"], vars(layer)["by_name"] = [1], {"kept": 2}  # past Keras, which would track them
    layer.inner.calls = 0
    model = wrapped(layer, symbolic(3))
    layer.last, layer.gone, layer.inner.calls = None, 3, 0
    vars(layer)["seen"], vars(layer)["by_name"] = [1], {"kept": 2, "h": 0}
    del layer.new
    flatten(model)
    assert (layer.last, layer.gone, layer.inner.calls) == (None, 3, 0)
    assert not hasattr(layer, "new")
    assert (layer.seen, layer.by_name) == ([1], {"kept": 2, "h": 0})


def test_nothing_of_keras_stays_replaced_and_no_node_is_added() -> None:
    cls, variable, node = keras.layers.Layer, keras.Variable, type(keras.Input((1,))._keras_history.operation)
    held = cls.__call__, cls.symbolic_call, cls.add_loss, keras.random.normal, keras.ops.exp, node.__init__
    value = variable.value
    layer = block()
    model = wrapped(layer, symbolic(3))
    nodes = len(layer._inbound_nodes), len(layer.dense._inbound_nodes)
    graph = flatten(model)
    assert graph.opened
    assert held == (cls.__call__, cls.symbolic_call, cls.add_loss, keras.random.normal, keras.ops.exp, node.__init__)
    assert variable.value is value
    assert "__array_ufunc__" not in vars(keras.KerasTensor)
    assert (len(layer._inbound_nodes), len(layer.dense._inbound_nodes)) == nodes
    assert keras.ops.exp(np.float32(0.0)) == 1.0

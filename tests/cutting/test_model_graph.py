from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef, flatten
from gradcheck.errors import ConfigError
from tests.cutting.traced_models import (
    Composite,
    around,
    assert_same,
    block,
    dense,
    graph_of,
    names,
    numbers,
    symbolic,
    wrapped,
)


def nested_model() -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(2)], name="inner"
    )
    x = keras.Input((3,), name="x")
    once = inner(x)
    again = inner(keras.layers.Dense(3, name="between")(x))
    return keras.Model(x, once + again)


def test_nested_models_are_inlined_call_by_call() -> None:
    graph = flatten(nested_model())
    assert [call.name for call in graph.calls] == [
        "between",
        "inner/first",
        "inner/dense",
        "inner/first:2",
        "inner/dense:2",
        "add",
    ]
    assert set(graph.groups) == {"inner", "inner:2"}


def test_every_call_takes_tensors_made_before_it() -> None:
    for call in flatten(nested_model()).calls:
        assert all(ref.call < call.index for ref in call.inputs)


def test_outputs_of_one_call_have_names_of_their_own() -> None:
    x = keras.Input((4, 2))
    sequence, hidden, cell = keras.layers.LSTM(3, return_sequences=True, return_state=True, name="lstm")(x)
    graph = flatten(keras.Model(x, [sequence, hidden, cell]))
    assert [graph.name(TensorRef(0, i)) for i in range(3)] == ["lstm", "lstm:1", "lstm:2"]


def test_model_inputs_have_their_own_names() -> None:
    graph = flatten(nested_model())
    assert graph.name(TensorRef(MODEL_INPUT, 0)) == "x"
    assert graph.layer(TensorRef(MODEL_INPUT, 0)) == "x"


def test_a_nested_input_of_another_dtype_is_converted_on_entry() -> None:
    entry, x = keras.Input((3,), dtype="float64"), keras.Input((3,))
    inner = keras.Model(entry, keras.layers.Dense(2, dtype="float64")(entry))  # old Keras casts what a Sequential gets
    (call,) = flatten(keras.Model(x, inner(x))).calls
    (source,) = call.sources.values()
    assert [entry.dtype for entry in source.entries] == ["float64"]


def test_a_subclassed_model_is_refused_with_what_to_do() -> None:
    class Own(keras.Model):
        def call(self, x):  # noqa: ANN001, ANN202 - as users write it
            return x

    with pytest.raises(ConfigError, match="not a graph of layers") as caught:
        flatten(Own())
    assert caught.value.code == "GC025"
    assert "segments" in str(caught.value.help)


def test_a_nested_subclassed_model_is_inlined() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.dense = keras.layers.Dense(2)

        def call(self, x):  # noqa: ANN001, ANN202 - as users write it
            return self.dense(x)

    x = keras.Input((3,))
    assert [call.path for call in flatten(keras.Model(x, Own()(x))).calls] == ["own/dense"]


# Layers made of layers


def doubled(layer: Any, x: Any, _: Any) -> Any:
    return layer.dense(x * 2.0) * 2.0


def test_a_model_around_one_layer_gives_paths_without_its_name() -> None:
    assert names(graph_of(around(dense(), block(doubled)))) == [
        "inner/0",
        "inner/1/multiply",
        "inner/1/dense",
        "inner/1/multiply_1",
    ]


def test_operations_are_numbered_in_each_layer_whatever_was_built_before() -> None:
    layer = around(block(doubled), block(doubled))
    first, again = (names(graph_of(layer)) for _ in range(2))
    assert first == again == [f"inner/{i}/{name}" for i in range(2) for name in ("multiply", "dense", "multiply_1")]


def test_groups_are_the_outputs_of_each_layer_whose_calls_are_listed() -> None:
    shared = block()
    graph = graph_of(around(shared, layers.ReLU(), shared))
    assert {name: [graph.name(ref) for ref in refs] for name, refs in graph.groups.items()} == {
        "inner/0": ["inner/0/dense"],
        "inner/0:2": ["inner/0/dense:2"],
    }


def test_a_functional_model_inside_a_layer_is_inlined_and_a_layer_inside_such_a_model() -> None:
    inner = keras.Sequential([keras.Input((3,)), dense(name="d"), block(doubled, name="b")], name="inner")
    model = wrapped(around(inner, layers.ReLU()), symbolic(3))
    graph = flatten(model)
    assert names(graph) == [
        "inner/0/d",
        "inner/0/b/multiply",
        "inner/0/b/dense",
        "inner/0/b/multiply_1",
        "inner/1",
    ]
    assert [(opened.path, opened.calls) for opened in graph.opened] == [("inner/0/b", range(1, 4)), ("", range(5))]
    assert set(graph.groups) == {"inner/0", "inner/0/b"}
    assert_same(model, numbers(4, 3))


def test_ranges_count_the_calls_of_models_that_are_inlined_before() -> None:
    inner = keras.Sequential([keras.Input((3,)), dense(), dense(), dense()])
    graph = graph_of(around(inner, block(doubled), inner, block()))
    assert [(opened.path, opened.calls) for opened in graph.opened] == [
        ("inner/1", range(3, 6)),
        ("inner/3", range(9, 10)),
        ("", range(10)),
    ]


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize("given", ["own", "carried", "none"])
def test_a_nested_model_that_is_given_a_mask_of_its_own_stays_one_call(given: str) -> None:
    entry = keras.Input((4, 3))
    inner = keras.Model(entry, layers.LSTM(2, name="lstm")(entry), name="inner")

    def call(layer: Any, x: Any, _: Any) -> Any:
        mask = {"own": ops.equal(x, 1), "carried": layer.embed.compute_mask(x), "none": None}[given]
        return layer.inner(layer.embed(x), mask=mask) if mask is not None else layer.inner(layer.embed(x))

    layer = Composite(call, embed=layers.Embedding(5, 3, mask_zero=given != "none"), inner=inner)
    model = wrapped(layer, symbolic(4, dtype="int32"))
    graph = flatten(model)
    assert ("inner" in names(graph)) == (given != "none")  # another mask, also if it has the same values
    assert ("inner/lstm" in names(graph)) == (given == "none")
    assert_same(model, np.array([[1, 2, 1, 0]]))


def test_a_layer_without_a_path_stays_findable() -> None:
    hidden = layers.Dense(3, name="hidden")

    def call(layer: Any, x: Any, _: Any) -> Any:
        return layer.dense(hidden(x))

    assert names(graph_of(block(call, name="b"))) == ["hidden", "dense"]


def test_a_layer_with_several_inputs_and_outputs() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        return {"sum": layer.dense(x[0]) + x[1], "same": x[1]}

    model = wrapped(around(block(call)), symbolic(3), symbolic(3))
    graph = flatten(model)
    inner, whole = graph.opened
    for opened in (inner, whole):
        assert [graph.name(source.ref) for source in opened.arguments if source] == ["input_0", "input_1"]
        assert [graph.name(source.ref) for source in opened.outputs if source] == ["input_1", "inner/0/add"]
    assert_same(model, numbers(4, 3), numbers(4, 3, seed=1))

from __future__ import annotations

import keras
import pytest

from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef, flatten
from gradcheck.errors import ConfigError


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

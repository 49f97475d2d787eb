from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from gradcheck.building.precision import precision_scope
from gradcheck.building.sources import build_model
from gradcheck.building.sources.layers import LayerError
from gradcheck.config.sections.model import LayersSource
from gradcheck.errors import ConfigError, RunError

HERE = Path()


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def build(layers: list[Any], shape: Any = (4,), base: Path = HERE, **more: Any) -> keras.Model:
    source = {"input": {"shape": list(shape)}, "layers": layers, **more}
    return build_model(LayersSource.model_validate(source), base).model


def failing(layers: list[Any], *, base: Path = HERE, **more: Any) -> LayerError:
    with pytest.raises(LayerError) as caught:
        build(layers, base=base, **more)
    return caught.value


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]


def test_a_chain_is_a_functional_model_with_keras_own_names() -> None:
    model = build([{"Conv1D": {"filters": 2, "kernel_size": 2, "name": "conv"}}, "Flatten", {"Dense": 3}], (5, 1))
    assert not isinstance(model, keras.Sequential)
    assert [layer.name for layer in model.layers] == ["input", "conv", "flatten", "dense"]
    assert model.output_shape == (None, 3)


def test_a_scalar_is_the_first_argument() -> None:
    model = build([{"Reshape": [2, 2]}, {"Dropout": 0.25}, {"Activation": "tanh"}])
    assert model.layers[1].target_shape == (2, 2)
    assert model.layers[2].rate == 0.25
    assert model.layers[3].activation is keras.activations.tanh


def test_the_input_has_its_dtype() -> None:
    source = {"input": {"shape": [3], "dtype": "int32"}, "layers": [{"Embedding": {"input_dim": 5, "output_dim": 2}}]}
    assert build_model(LayersSource.model_validate(source), HERE).model.inputs[0].dtype == "int32"


def test_a_float64_twin_of_explicit_dtypes_is_float64_throughout() -> None:
    with precision_scope("float64"):
        source = {"input": {"shape": [3], "dtype": "float32"}, "layers": [{"Dense": {"units": 2, "dtype": "float32"}}]}
        model = build_model(LayersSource.model_validate(source), HERE).model
    assert {v.dtype for v in model.variables} | {model.inputs[0].dtype, model.outputs[0].dtype} == {"float64"}


def test_merge_layers_take_a_list_and_a_skip_names_the_input() -> None:
    model = build([{"Dense": {"units": 4, "name": "a"}}, {"Add": {"inputs": ["a", "input"], "name": "sum"}}])
    x = np.ones((1, 4), "float32")
    np.testing.assert_array_equal(model(x), model.get_layer("a")(x) + x)


def test_attention_takes_a_list_multi_head_attention_positions() -> None:
    model = build(
        [
            {"Dense": {"units": 4, "name": "q"}},
            {"MultiHeadAttention": {"num_heads": 1, "key_dim": 2, "inputs": ["q", "input"], "name": "mha"}},
            {"Attention": {"inputs": ["mha", "q", "input"]}},
        ],
        (3, 4),
        outputs=["mha", "attention"],
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    q = model.get_layer("q")(x)
    expected = model.get_layer("mha")(q, x)
    np.testing.assert_array_equal(model(x)[0], expected)
    np.testing.assert_array_equal(model(x)[1], keras.layers.Attention()([expected, q, x]))


def test_outputs_by_number_and_states_as_call_arguments() -> None:
    model = build(
        [
            {"LSTM": {"units": 2, "return_state": True, "return_sequences": True, "name": "encoder"}},
            {
                "LSTM": {
                    "units": 2,
                    "name": "decoder",
                    "inputs": ["input"],
                    "call_kwargs": {"initial_state": ["encoder:1", "encoder:2"]},
                }
            },
        ],
        (3, 4),
    )
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    _, h, c = model.get_layer("encoder")(x)
    np.testing.assert_allclose(model(x), model.get_layer("decoder")(x, initial_state=[h, c]), rtol=1e-6)
    assert np.abs(model(x) - model.get_layer("decoder")(x)).max() > 1e-4


def test_plain_call_arguments_are_passed_on() -> None:
    entry = {"MultiHeadAttention": {"num_heads": 1, "key_dim": 2, "inputs": ["input", "input"]}}
    causal = build([{**entry, "call_kwargs": {"use_causal_mask": True}}], (3, 4))
    x = np.random.default_rng(0).normal(size=(1, 3, 4)).astype("float32")
    changed = x.copy()
    changed[0, -1] += 1
    np.testing.assert_array_equal(causal(x)[:, :-1], causal(changed)[:, :-1])


def test_an_earlier_layer_is_called_again_with_the_same_weights() -> None:
    layers = [
        {"Dense": {"units": 4, "name": "shared"}},
        {"call": {"layer": "shared", "inputs": ["input"], "name": "again"}},
        {"Subtract": {"inputs": ["shared", "again"]}},
        {"call": {"layer": "shared"}},
        {"Subtract": {"inputs": ["shared", "again"], "name": "last"}},
    ]
    model = build(layers, outputs=["subtract", "last"])
    assert len(model.trainable_variables) == 2
    x = np.ones((1, 4), "float32")
    dense = model.get_layer("shared")
    difference, last = model(x)
    np.testing.assert_array_equal(difference, np.zeros((1, 4)))
    np.testing.assert_array_equal(last, dense(difference) - dense(x))  # an unnamed call takes over the name


def test_several_inputs_by_name() -> None:
    source = {
        "input": {"left": {"shape": [2]}, "right": {"shape": [3]}},
        "layers": [{"Concatenate": {"inputs": ["left", "right"]}}, {"Dense": 1}],
    }
    model = build_model(LayersSource.model_validate(source), HERE).model
    assert [t.name for t in model.inputs] == ["left", "right"]
    assert model([np.ones((1, 2)), np.ones((1, 3))]).shape == (1, 1)


def test_layers_inside_arguments_are_written_the_same_way() -> None:
    model = build(
        [
            {"TimeDistributed": {"layer": {"Dense": {"units": 3, "activation": "relu"}}}},
            {"Bidirectional": {"layer": {"LSTM": {"units": 2, "return_sequences": True}}, "backward_layer": None}},
            {"RNN": {"cell": [{"LSTMCell": 3}, {"GRUCell": {"units": 2}}], "return_sequences": True}},
            {"RNN": {"cell": {"StackedRNNCells": {"cells": [{"SimpleRNNCell": 2}, {"SimpleRNNCell": 2}]}}}},
            {"Dense": {"units": 2, "activation": {"LeakyReLU": {"negative_slope": 0.5}}}},
        ],
        (3, 4),
    )
    assert kinds(model) == ["InputLayer", "TimeDistributed", "Bidirectional", "RNN", "RNN", "Dense"]
    assert type(model.layers[3].cell).__name__ == "StackedRNNCells"
    assert model.layers[5].activation.negative_slope == 0.5
    assert kinds(build([{"TimeDistributed": "Flatten"}], (3, 4, 2))) == ["InputLayer", "TimeDistributed"]


def test_initializers_regularizers_and_constraints_by_name_config_or_mapping() -> None:
    config = {"class_name": "Constant", "config": {"value": 2.0}}
    for written in (config, {"Constant": {"value": 2.0}}, {"Constant": 2.0}):
        model = build([{"Dense": {"units": 1, "kernel_initializer": written, "kernel_regularizer": {"L2": 0.5}}}])
        np.testing.assert_array_equal(model.layers[1].kernel, np.full((4, 1), 2.0))
        assert float(model.layers[1].kernel_regularizer.l2) == 0.5
    constrained = build([{"Dense": {"units": 1, "kernel_constraint": {"MaxNorm": {"max_value": 3}}}}])
    assert constrained.layers[1].kernel_constraint.max_value == 3
    assert build([{"Dense": {"units": 1, "kernel_initializer": "ones"}}]).layers[1].kernel.numpy().sum() == 4
    # The same name means a layer elsewhere.
    identity = build([{"Dense": {"units": 4, "kernel_initializer": {"Identity": {"gain": 2}}}}])
    np.testing.assert_array_equal(identity.layers[1].kernel, 2 * np.eye(4))


OWN = """
import keras
class Scale(keras.layers.Layer):
    def __init__(self, factor=1, **kwargs):
        super().__init__(**kwargs)
        if factor == 0:
            raise ValueError("factor is zero")
        self.factor = factor
    def call(self, x, shift=None, mode="plain"):
        if mode != "plain":
            raise RuntimeError("mode is " + mode)
        return x * self.factor + (0 if shift is None else shift)
class Pair(keras.layers.Layer):
    def call(self, a, b):
        return a + 2 * b, a - b
class Many(keras.layers.Layer):
    def call(self, *tensors):
        return sum(tensors)
def function(units):
    return keras.layers.Dense(units)
number = 3
"""


def test_layers_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    model = build(
        [
            {"./own.py:Scale": {"factor": 2, "name": "twice"}},
            {"./own.py:Pair": {"inputs": ["input", "twice"], "name": "pair"}},
            {"own:Many": {"inputs": ["pair", "pair:1", "twice"], "name": "many"}},
            {"./own.py:Scale": {"factor": 1, "call_kwargs": {"shift": "pair:1"}, "name": "end"}},
            {"./own.py:function": 2},
        ],
        base=tmp_path,
        outputs=["many", "end", "dense"],
    )
    many, end, _ = model(np.ones((1, 4), "float32"))
    np.testing.assert_array_equal(many, np.full((1, 4), 5.0 - 1.0 + 2.0))
    np.testing.assert_array_equal(end, np.full((1, 4), 6.0 - 1.0))


@pytest.mark.parametrize(
    ("entry", "line"),
    [({"./own.py:Scale": {"factor": 0}}, 7), ({"./own.py:Scale": {"call_kwargs": {"mode": "loud"}}}, 11)],
)
def test_a_layer_of_ones_own_that_raises_is_located_in_its_file(tmp_path: Path, entry: Any, line: int) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(RunError) as caught:
        build([entry], base=tmp_path)
    location = caught.value.location
    assert caught.value.code == "GC051"
    assert location is not None
    assert (location.path.name, location.line) == ("own.py", line)


@pytest.mark.parametrize(
    ("entry", "code", "help_", "below"),
    [
        ({"./own.py:Skale": 2}, "GC028", "Scale", ()),
        ({"./own.py:number": 2}, "GC021", None, ()),
        ({"./own.py:Scale": {"factr": 2}}, "GC021", "did you mean `factor`?", ("./own.py:Scale", "factr")),
    ],
)
def test_a_layer_of_ones_own_that_is_written_wrong(
    tmp_path: Path, entry: Any, code: str, help_: str | None, below: tuple[str, ...]
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(ConfigError) as caught:
        build(["Flatten", entry], base=tmp_path)
    assert caught.value.code == code
    assert caught.value.keys == ("model", "layers", 1, *below)  # type: ignore[attr-defined]
    assert help_ is None or help_ in (caught.value.help or "")


@pytest.mark.parametrize(
    ("layers", "code", "keys", "message", "help_"),
    [
        (["Flatten", "Desne"], "GC020", (1,), "Desne", "did you mean `Dense`?"),
        (["Flatten", {"TimeDistributed": {"layer": {"Desne": 2}}}], "GC020", (1,), "Desne", "did you mean `Dense`?"),
        ([{"Dense": {"units": -1, "name": "d"}}], "GC021", (0,), r"layer 0 \(Dense 'd'\).*units=-1", None),
        (
            [{"Dense": {"units": 2, "actvation": "relu"}}],
            "GC021",
            (0, "Dense", "actvation"),
            "Received: .*actvation='relu'",
            "did you mean `activation`?",
        ),
        (["Flatten", {"Conv2D": {"filters": 1, "kernel_size": 2}}], "GC021", (1,), r"Conv2D.*\(None, 4\)", None),
        ([{"MultiHeadAttention": {"num_heads": 1, "key_dim": 2}}], "GC021", (0,), "value", "query, value"),
        ([{"Lambda": {"function": "x"}}], "GC021", (0,), "Lambda cannot be written", "layers.py:MyLayer"),
        ([{"TimeDistributed": {"layer": {"Lambda": 1}}}], "GC021", (0,), "Lambda cannot be written", None),
        (["InputLayer"], "GC021", (0,), "InputLayer", "model.input"),
        ([{"Add": {"inputs": ["input", "cnov"]}}, "Flatten"], "GC022", (0,), "cnov", "input"),
        ([{"Dense": {"units": 4, "name": "a"}}, {"Add": {"inputs": ["a", "a:1"]}}], "GC022", (1,), "a:1", None),
        ([{"call": {"layer": "dnse"}}], "GC022", (0,), "dnse", "no layer so far"),
        ([{"Dense": {"units": 4, "name": "a"}}, {"Dense": {"units": 4, "name": "a"}}], "GC021", (1,), "twice", "call"),
        (
            [{"Dense": {"units": 4, "name": "a"}}, {"call": {"layer": "a", "name": "a"}}],
            "GC021",
            (1,),
            "twice",
            None,
        ),
        (
            [{"LSTM": {"units": 4, "call_kwargs": {"initial_state": ["h"]}}}],
            "GC022",
            (0,),
            "'h'",
            None,
        ),
        ([{"Dense": {"units": 1, "kernel_initializer": {"Onse": {}}}}], "GC020", (0,), "Onse", "Ones"),
        ([{"Dense": {"units": 1, "kernel_initializer": {"Orthogonal": {"gian": 1}}}}], "GC021", (0,), "gian=1", None),
        ([{"Dense": {"units": 1, "kernel_initializer": "onse"}}], "GC021", (0,), "onse", None),
        ([{"RNN": {"cell": {"call": {"layer": "x"}}}}], "GC021", (0,), "Received: call", None),
        ([{"RNN": {"cell": {"LSTMCell": 1, "GRUCell": 1}}}], "GC021", (0,), "takes a layer here", None),
    ],
)
def test_mistakes_name_the_entry_and_what_to_do(
    layers: list[Any], code: str, keys: tuple[int], message: str, help_: str | None
) -> None:
    error = failing(layers)
    assert (error.code, error.keys) == (code, ("model", "layers", *keys))
    assert re.search(message, error.message), error.message
    assert help_ is None or help_ in (error.help or ""), error.help


def test_an_object_config_cannot_import_a_module(tmp_path: Path) -> None:
    (tmp_path / "planted_module.py").write_text("raise SystemExit('imported')\n")
    config = {"class_name": "function", "config": "system", "module": "planted_module", "registered_name": "system"}
    error = failing([{"Dense": {"units": 1, "activation": config}}])
    assert "cannot name a module" in error.message
    assert "planted_module" not in sys.modules
    nested = {"class_name": "Constant", "config": {"value": config}}
    assert "cannot name a module" in failing([{"Dense": {"units": 1, "bias_initializer": nested}}]).message


def test_the_first_layer_must_say_which_of_several_inputs_it_takes() -> None:
    source = {"input": {"a": {"shape": [2]}, "b": {"shape": [3]}}, "layers": [{"Dense": 1}]}
    with pytest.raises(LayerError, match="which inputs") as caught:
        build_model(LayersSource.model_validate(source), HERE)
    assert "a, b" in (caught.value.help or "")


def test_unknown_outputs_and_wrong_inputs_are_at_their_own_keys() -> None:
    error = failing([{"Dense": {"units": 1, "name": "end"}}], outputs=["end", "edn"])
    assert (error.code, error.keys) == ("GC022", ("model", "outputs", 1))
    source = {"input": {"a": {"shape": [2], "dtype": "float33"}}, "layers": ["Flatten"]}
    with pytest.raises(LayerError, match="float33") as caught:
        build_model(LayersSource.model_validate(source), HERE)
    assert caught.value.keys == ("model", "input", "a")


def test_an_error_of_gradchecks_own_inside_keras_is_not_reworded(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise RunError("too large", code="GC056")

    monkeypatch.setattr(keras.layers.Dense, "add_weight", refused)
    with pytest.raises(RunError) as caught:
        build([{"Dense": 2}])
    assert (caught.value.code, caught.value.__cause__) == ("GC056", None)


def test_a_chain_of_many_layers() -> None:
    limit = sys.getrecursionlimit()
    assert len(build([{"Activation": "relu"}] * 1500).layers) == 1501
    assert sys.getrecursionlimit() == limit


def test_the_same_seed_gives_the_same_weights() -> None:
    models = []
    for _ in range(2):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(3)
        models.append(build([{"Dense": 3}]))
    np.testing.assert_array_equal(models[0].get_weights()[0], models[1].get_weights()[0])
    assert models[0].layers[1].name == models[1].layers[1].name

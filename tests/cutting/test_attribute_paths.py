"""The names of layers and variables inside a subclassed model, by the attributes that hold them."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from gradcheck.cutting.tracing.attribute_paths import layer_paths, variable_paths
from tests.cutting.traced_models import Composite, dense, numbers, plain


@pytest.fixture(autouse=True)
def _session() -> None:
    keras.utils.clear_session(free_memory=False)


def holding(**held: Any) -> Composite:
    return Composite(plain, **held)


def paths(root: keras.Layer, *wanted: keras.Layer) -> list[str]:
    found = layer_paths(root)
    return [found[id(layer)] for layer in wanted]


def test_lists_and_mappings_by_index_and_key() -> None:
    a, b, c, d = (dense() for _ in range(4))
    root = holding(parts=[a, (b, {"key": c})], by_name={"d": d})
    assert paths(root, root, a, b, c, d) == ["", "parts/0", "parts/1/0", "parts/1/1/key", "by_name/d"]


def test_layers_inside_layers() -> None:
    inner = dense()
    assert paths(holding(middle=holding(inner=inner)), inner) == ["middle/inner"]


def test_of_several_names_the_shortest_and_of_these_the_first() -> None:
    shared = dense()
    assert paths(holding(inner=holding(deep=shared), first=shared, second=shared), shared) == ["first"]


def test_the_shortest_name_wins_at_any_depth() -> None:
    shared = dense()
    assert paths(holding(a=holding(z=shared), b=holding(x=holding(y=shared))), shared) == ["a/z"]
    assert paths(holding(a=holding(x=holding(y=shared)), b=holding(z=shared)), shared) == ["b/z"]


def test_public_names_come_before_private_ones() -> None:
    shared, hidden = dense(), dense()
    assert paths(holding(_private=shared, public=shared, _hidden=hidden), shared, hidden) == ["public", "_hidden"]


def test_a_layer_that_no_attribute_holds_has_its_own_name() -> None:
    root, kept = holding(), layers.Dense(2, name="kept")
    root._layers.append(kept)
    assert paths(root, kept) == ["kept"]


def test_layers_of_a_functional_model_have_their_own_names_there() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, name="out")])
    assert paths(holding(model=model), model.layers[0]) == ["model/out"]


def test_the_inside_of_keras_own_layers_is_left_out() -> None:
    wrapped = layers.Bidirectional(layers.LSTM(2))
    found = layer_paths(holding(both=wrapped))
    assert set(found.values()) == {"", "both"}


def test_a_root_that_holds_itself_through_others() -> None:
    root, inner = holding(), holding()
    root.inner = inner
    vars(inner)["up"] = root
    assert paths(root, root, inner) == ["", "inner"]


class Model(keras.Model):
    def __init__(self, before: keras.Model | None = None) -> None:
        super().__init__(name="model")
        self.before = before
        self.blocks = [dense(name="a"), keras.Sequential([layers.Dense(3, name="b")], name="seq")]
        self.both = layers.Bidirectional(layers.LSTM(2, name="lstm"), name="both")
        self.norm = layers.BatchNormalization(name="norm")
        self.drop = layers.Dropout(0.5, name="drop")
        self.gain = self.add_weight(shape=(3,), name="gain")
        self.total = keras.metrics.Mean(name="total")

    def call(self, x: Any) -> Any:
        x = x if self.before is None else self.before(x)
        for block in self.blocks:
            x = block(x)
        self.both(x[:, None, :])
        return self.drop(self.norm(x)) * self.gain


def test_variables_have_the_path_of_their_layer_and_their_name_in_it() -> None:
    model = Model()
    model(numbers(2, 3))
    found = variable_paths(model)
    named = {found[id(v)] for v in model.trainable_variables}
    assert named == {
        "gain",
        "blocks/0/kernel",
        "blocks/0/bias",
        "blocks/1/b/kernel",
        "blocks/1/b/bias",
        "norm/gamma",
        "norm/beta",
        *(f"both/{way}_lstm/lstm_cell/{name}" for way in ("forward", "backward") for name in ("kernel", "bias")),
        *(f"both/{way}_lstm/lstm_cell/recurrent_kernel" for way in ("forward", "backward")),
    }
    state = {found[id(v)] for v in model.norm.non_trainable_variables}
    assert state == {"norm/moving_mean", "norm/moving_variance"}


def test_what_was_made_elsewhere_keeps_the_path_of_keras() -> None:
    before = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="earlier")], name="before")
    model = Model(before)
    model(numbers(2, 3))
    found = variable_paths(model)
    assert not {id(v) for v in before.variables} & found.keys()
    seeds = [v for v in model.drop.variables if "seed" in v.name]
    assert seeds
    assert not {id(v) for v in seeds} & found.keys()
    assert found[id(model.blocks[0].kernel)] == "blocks/0/kernel"


def test_a_shared_variable_has_the_first_path() -> None:
    shared = dense()
    root = holding(one=shared, two=holding(again=shared))
    shared.build((None, 3))
    assert sorted(variable_paths(root).values()) == ["one/bias", "one/kernel"]

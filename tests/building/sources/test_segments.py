from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from gradcheck.building.sources import BuiltModel, KnownBatch, build_model, match_variables
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.errors import GradcheckError, RunError

if TYPE_CHECKING:
    from pathlib import Path

PARTS = """
import keras
from keras import Input, Model, layers
def first(units=4, name=None):
    x = Input((3,), name="x")
    return Model(x, layers.Dense(units, activation="tanh")(x), name=name)
def second(units=4, name=None):
    x = Input((units,))
    return Model(x, layers.Dense(2)(layers.Dropout(0.5)(x)), name=name)
def whole():
    x = Input((3,), name="x")
    h = layers.Dense(4, activation="tanh")(x)
    return Model(x, layers.Dense(2)(layers.Dropout(0.5)(h)))
def wider():
    x = Input((3,), name="x")
    return Model(x, layers.Dense(2)(layers.Dense(5)(x)))
def forgetful():
    keras.utils.clear_session(free_memory=False)
    return second(name="functional")
class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)
    def call(self, x, training=None):
        return self.dense(x)
class Broken(Net):
    def call(self, x):
        raise RuntimeError("not today")
def head():
    return layers.Dense(2, name="head")
def two_out():
    x = Input((3,), name="x")
    return Model(x, [layers.Dense(4, name="a")(x), layers.Dense(5, name="b")(x)])
def two_in(swapped=False):
    a, b = Input((4,), name="a"), Input((5,), name="b")
    y = layers.Concatenate()([layers.Dense(2)(a), layers.Dense(2)(b)])
    return Model({"b": b, "a": a} if swapped == "mapping" else [b, a] if swapped else [a, b], y)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


def source(function: str, **kwargs: Any) -> dict[str, Any]:
    return {"factory": f"./parts.py:{function}", "kwargs": kwargs}


def build(folder: Path, *parts: Any, **more: Any) -> BuiltModel:
    written = [part if isinstance(part, dict) else source(part) for part in parts]
    return build_model(SegmentsSource.model_validate({"segments": written, **more}), folder)


def failing(folder: Path, *parts: Any, **more: Any) -> GradcheckError:
    with pytest.raises(RunError) as caught:
        build(folder, *parts, **more)
    assert caught.value.code == "GC051"
    return caught.value


X = np.random.default_rng(0).normal(size=(2, 3)).astype("float32")


def test_without_a_reference_the_whole_is_the_composition(folder: Path) -> None:
    built = build(folder, "first", "second")
    first, second = built.parts or ()
    assert built.model.name == "whole"
    assert built.composition is None
    assert [v.path for v in built.model.trainable_variables] == [
        v.path for part in (first, second) for v in part.trainable_variables
    ]
    assert built.model.inputs[0].name == "x"
    np.testing.assert_array_equal(built.model(X), second(first(X)))


def test_with_a_reference_the_parts_get_its_weights(folder: Path) -> None:
    built = build(folder, "first", "second", reference=source("whole"))
    first, second = built.parts or ()
    assert not {id(v) for v in built.model.variables} & {id(v) for part in (first, second) for v in part.variables}
    np.testing.assert_array_equal(built.model(X), second(first(X)))
    np.testing.assert_array_equal(built.model(X, training=True), second(first(X), training=True))
    assert built.composition is not None
    np.testing.assert_array_equal(built.composition(X), second(first(X)))


def test_parts_whose_factories_clear_the_session(folder: Path) -> None:
    built = build(folder, source("first", name="functional"), "forgetful", reference=source("whole"))
    first, second = built.parts or ()
    assert first.name != second.name
    np.testing.assert_array_equal(built.model(X), second(first(X)))


def test_parts_may_be_subclassed_models_and_layers(folder: Path) -> None:
    for last in ("Net", "head"):
        built = build(folder, "first", last)
        first, second = built.parts or ()
        np.testing.assert_array_equal(built.model(X), second(first(X)))


def test_a_subclassed_first_part_takes_the_references_inputs(folder: Path) -> None:
    reference = {"input": {"shape": [3]}, "layers": [{"Dense": 2}, {"Dense": 2}]}
    built = build(folder, "Net", "head", reference=reference)
    first, second = built.parts or ()
    np.testing.assert_array_equal(built.model(X), second(first(X)))
    assert "no symbolic inputs" in failing(folder, "Net", "head").message


def test_parts_can_come_from_any_source(folder: Path) -> None:
    written = {"input": {"shape": [4]}, "layers": [{"Dense": 3}]}
    assert build(folder, "first", written).model.output_shape == (None, 3)


@pytest.mark.parametrize("swapped", [False, True, "mapping"])
def test_several_tensors_go_by_name_where_all_names_agree(folder: Path, swapped: Any) -> None:
    built = build(folder, "two_out", source("two_in", swapped=swapped))
    first, second = built.parts or ()
    a, b = first(X)
    by_name = {"a": a, "b": b}
    given = by_name if swapped == "mapping" else [by_name[t.name] for t in second.inputs]
    np.testing.assert_array_equal(built.model(X), second(given))


@pytest.mark.parametrize(
    ("parts", "message", "keys"),
    [
        (["two_out", "second"], "takes 1 of shape (None, 4). Received: 2 of shape", ("model", "segments", 1)),
        (["first", source("second", units=5)], "takes 1 of shape (None, 5). Received: 1", ("model", "segments", 1)),
        (["first", "Broken"], "not today", ("model", "segments", 1)),
    ],
)
def test_parts_that_do_not_fit_each_other(folder: Path, parts: Any, message: str, keys: Any) -> None:
    error = failing(folder, *parts)
    assert message in error.message
    assert error.keys == keys  # type: ignore[attr-defined]


def test_a_part_that_raises_is_located_in_its_file(folder: Path) -> None:
    location = failing(folder, "first", "Broken").location
    assert location is not None
    assert location.excerpt == '        raise RuntimeError("not today")'


def test_a_part_that_is_no_model_is_named(folder: Path) -> None:
    (folder / "parts.py").write_text(PARTS + "def nothing():\n    pass\n")
    error = failing(folder, "first", "nothing")
    assert "factory ./parts.py:nothing must give a keras.Model. Received: None" in error.message


def test_a_reference_with_other_weights_names_what_is_without_counterpart(folder: Path) -> None:
    error = failing(folder, "first", "second", reference=source("wider"))
    assert "kernel (3, 4)" in error.message
    assert "kernel (3, 5)" in error.message
    error = failing(folder, "first", source("head"), reference=source("first"))
    assert "does not return what the reference returns" in error.message


def test_weights_go_to_the_reference_and_from_there_to_the_parts(folder: Path) -> None:
    trained = build(folder, "first", "second", reference=source("whole")).model
    trained.save_weights(folder / "trained.weights.h5")
    keras.utils.set_random_seed(5)
    built = build(folder, "first", "second", reference=source("whole"), weights="trained.weights.h5")
    first, second = built.parts or ()
    np.testing.assert_array_equal(built.model(X), trained(X))
    np.testing.assert_array_equal(second(first(X)), trained(X))


class Variable:
    def __init__(self, path: str, *shape: int) -> None:
        self.path, self.shape = path, shape


def variables(text: str) -> list[Variable]:
    return [Variable(path, 2) for path in text.split()]


@pytest.mark.parametrize(
    ("parts", "whole", "expected"),
    [
        ("b/k a/k", "a/k b/k", [1, 0]),  # by path
        ("p/b/k q/a/k", "w/a/k w/b/k", [1, 0]),  # by layer and variable
        ("dense_2/k dense_3/k", "dense/k dense_1/k", [0, 1]),  # numbered by Keras: in order
        ("dense/k dense/k dense_1/k", "dense/k dense_1/k dense_2/k", [0, 1, 2]),  # parts that cleared the session
        ("e/k d/k e/k", "e/k d/k", [0, 1, 0]),  # two copies of a tied weight
        ("b/k a/k dense_1/k", "a/k b/k dense/k", [1, 0, 2]),  # names of one's own, then the rest in order
        # a layer that holds layers in another order than they were built: those of one name in order
        ("b/dense_2/k b/norm_1/k b/norm_2/k", "b/norm/k b/norm_1/k b/dense/k", [2, 0, 1]),
    ],
)
def test_variables_are_matched(parts: str, whole: str, expected: list[int]) -> None:
    assert match_variables(variables(parts), variables(whole)) == expected


def test_shapes_must_agree_whatever_the_names() -> None:
    with pytest.raises(RunError, match=r"in the reference: a/k \(3,\); in the parts: a/k \(2,\)"):
        match_variables([Variable("a/k", 3)], [Variable("a/k", 2)])
    with pytest.raises(RunError, match=r"in the reference: none; in the parts: b/k"):
        match_variables(variables("a/k"), variables("a/k b/k"))
    with pytest.raises(RunError, match=r"in the reference: b/k .*; in the parts: none"):
        match_variables(variables("a/k b/k"), variables("a/k"))


# Parts without symbolic inputs

OWN = """
import keras
import numpy as np
from keras import layers
class First(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)
    def call(self, x):
        return {"a": self.dense(x), "b": 2.0 * x}
class Second(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)
    def call(self, x):
        return self.dense(x["a"]) + self.dense(x["a"])
class Tried(First):
    def call(self, x):
        return self.dense(x)
class Later(Tried):
    pass
def tried():
    net = Tried()
    net(np.zeros((2, 5), "float32"))
    return net
def later():
    net = Later()
    net(np.zeros((2, 8, 4), "float32"))  # of another shape than what it gets
    return net
def unbuilt():
    return Later()
"""


@pytest.fixture
def own(folder: Path) -> Path:
    (folder / "parts.py").write_text(OWN)
    return folder


def test_the_first_part_is_called_on_what_its_factory_called_it_on(own: Path) -> None:
    built = build(own, "tried", "unbuilt")
    assert built.parts is not None
    assert [part.input_shape for part in built.parts] == [(None, 5), (None, 4)]


def test_a_later_part_is_called_on_what_the_one_before_returns(own: Path) -> None:
    built = build(own, "tried", "later")
    assert built.parts is not None
    assert built.parts[1].input_shape == (None, 4)


def test_the_first_part_is_called_on_what_the_config_or_the_batch_says(own: Path) -> None:
    written = {**source("unbuilt"), "input": {"shape": [6]}}
    built = build(own, written, "unbuilt")
    assert built.parts is not None
    assert built.parts[0].input_shape == (None, 6)
    parts = {"segments": [source("unbuilt"), source("unbuilt")]}
    known = KnownBatch(2, lambda: np.zeros((2, 7), "float32"))
    assert build_model(SegmentsSource.model_validate(parts), own, known).model.input_shape == (None, 7)


def test_a_later_part_may_state_its_inputs(own: Path) -> None:
    stated = {**source("Second"), "input": {"a": {"shape": [4]}, "b": {"shape": [3]}}}
    built = build(own, {**source("First"), "input": {"shape": [3]}}, stated)
    assert built.parts is not None
    assert set(built.parts[1].input) == {"a", "b"}
    first, second = (next(layer for layer in part.layers if hasattr(layer, "dense")) for part in built.parts)
    np.testing.assert_array_equal(built.model(X), second(first(X)))


def test_a_first_part_of_which_nothing_tells_the_inputs(own: Path) -> None:
    error = failing(own, "unbuilt", "unbuilt")
    assert "has no symbolic inputs. Received: a Later" in error.message
    assert "model.input" in str(error.help)

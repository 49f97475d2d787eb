"""Calls whose own gradient is wrong, each tried by itself in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.schema import Config
from gradcheck.diagnose.tracing.alone import wrong_alone
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.diagnose.tracing.alone import WrongCall
    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODELS = '''
import keras
import tensorflow as tf
from keras import layers, ops


@tf.custom_gradient
def twice(x):
    return tf.identity(x), lambda upstream: 2.0 * upstream


@tf.custom_gradient
def nothing(x):
    return tf.identity(x), lambda upstream: None


@tf.custom_gradient
def infinite(x):
    return tf.identity(x), lambda upstream: upstream * float("nan")


class Wrong(layers.Layer):
    """Computes with a gradient that is not its own."""

    def __init__(self, kind, **kwargs):
        super().__init__(**kwargs)
        self.kind = kind
        self.seeds = keras.random.SeedGenerator(3)

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")

    def call(self, x):
        if self.kind == "input":
            return twice(x) * self.gain
        if self.kind == "drawn":
            return twice(x) * keras.random.uniform((3,), seed=self.seeds)
        if self.kind == "weight":
            return x * twice(tf.convert_to_tensor(self.gain))
        if self.kind == "none":
            return nothing(x)
        if self.kind == "stopped":
            return tf.stop_gradient(x) + 0.0 * self.gain
        if self.kind == "kink":
            return tf.abs(x - tf.stop_gradient(x)) + x * self.gain
        if self.kind == "integers":
            return tf.argmax(x, axis=-1)
        return x * self.gain


class Inner(layers.Layer):
    def __init__(self, kind):
        super().__init__()
        self.before, self.wrong, self.after = layers.Dense(3, activation="tanh"), Wrong(kind), layers.Dense(3)
        self.norm, self.drop = layers.BatchNormalization(), layers.Dropout(0.5)

    def call(self, x, training=None):
        return self.after(self.drop(self.norm(self.wrong(self.before(x)), training=training), training=training))


class Net(keras.Model):
    def __init__(self, *kinds):
        super().__init__(name="net")
        self.parts = [Inner(kind) for kind in kinds]

    def call(self, x, training=None):
        for part in self.parts:
            x = part(x, training=training)
        return x


def net(kinds):
    return Net(*kinds)


def flat(kind):
    x = keras.Input((3,))
    return keras.Model(x, layers.Dense(2, name="out")(Wrong(kind, name="culprit")(layers.Dense(3, name="first")(x))))


def lookup():
    x = keras.Input((), dtype="int32")
    return keras.Model(x, layers.Dense(2)(layers.Embedding(5, 3)(x)))


def two(kind):
    x = keras.Input((3,))
    h = layers.Dense(3, name="first")(x)
    index = Wrong("integers", name="index")(h)
    return keras.Model(x, [layers.Dense(2, name="out")(h), index])
'''


def found(base: Path, factory: str, training: bool = True, **kwargs: Any) -> tuple[WrongCall, ...]:  # noqa: FBT002 - the flag of the calls
    (base / "m.py").write_text(MODELS)
    model = {"factory": "./m.py:" + factory, "kwargs": kwargs}
    if factory == "net":
        model["input"] = {"shape": [3]}
    given = {"model": model, "data": {"batch_size": 4}, "training": training}
    config = Config.model_validate({**given, "split": {"every": "layer"}})
    with session(config):
        problem = prepare(config, base)
        before = [v.numpy() for v in problem.state.movable]
        wrong = wrong_alone(problem)
        assert all((v.numpy() == value).all() for v, value in zip(problem.state.movable, before, strict=True))
    return wrong


@pytest.mark.parametrize("training", [True, False])
def test_right_calls_are_not_named_with_statistics_dropout_and_losses_among_them(
    tmp_path: Path, training: bool
) -> None:
    assert found(tmp_path, "net", training, kinds=["right"]) == ()


@pytest.mark.parametrize(("kind", "ratio"), [("input", None), ("drawn", None), ("weight", None), ("stopped", 0.0)])
def test_a_wrong_call_is_named_with_both_derivatives(tmp_path: Path, kind: str, ratio: float | None) -> None:
    (wrong,) = found(tmp_path, "flat", kind=kind)
    assert (wrong.name, wrong.kind) == ("culprit", "Wrong")
    assert wrong.tape is not None
    assert abs(wrong.tape - wrong.differences) > 1e-2 * abs(wrong.differences)
    assert ratio is None or wrong.tape == ratio
    assert wrong.says == (
        f"culprit (Wrong) is wrong by itself: the tape {wrong.tape:.6g}, finite differences {wrong.differences:.6g}"
    )


def test_a_gradient_of_none_is_wrong_where_the_output_moves(tmp_path: Path) -> None:
    (wrong,) = found(tmp_path, "flat", kind="none")
    assert (wrong.name, wrong.tape) == ("culprit", None)
    assert wrong.says.startswith("culprit (Wrong) is wrong by itself: the tape None, finite differences ")


@pytest.mark.parametrize("kind", ["kink", "right"])
def test_at_a_kink_nothing_is_decided(tmp_path: Path, kind: str) -> None:
    assert found(tmp_path, "flat", kind=kind) == ()


def test_calls_on_integers_and_calls_that_return_some(tmp_path: Path) -> None:
    assert found(tmp_path, "lookup") == ()
    assert found(tmp_path, "two", kind="right") == ()


def test_the_calls_inside_layers_are_tried_and_come_in_the_order_of_the_backward_pass(tmp_path: Path) -> None:
    wrong = found(tmp_path, "net", kinds=["input", "weight"])
    assert [call.name for call in wrong] == ["parts/1/wrong", "parts/0/wrong"]


def test_a_diagnosis_names_the_innermost_call(run: Run) -> None:
    config = {
        "model": {"factory": "./m.py:net", "kwargs": {"kinds": ["input"]}, "input": {"shape": [3]}},
        "data": {"batch_size": 4},
        "split": {"every": "layer"},
        "methods": ["numeric"],
        "training": False,
    }
    (check,) = run(config, {"m.py": MODELS}, verify_reference="never").checks
    assert check.outcome == "mismatch"
    assert any("parts/0/wrong (Wrong) is wrong by itself" in d.evidence for d in check.diagnoses), check.diagnoses

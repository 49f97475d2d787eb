"""Where NaN and infinity are made: the innermost layer, or the loss, and the operation; no fault is named for them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, Diagnosis, RunReport

    Run = Callable[..., RunReport]

MODELS = """
    import keras
    import tensorflow as tf
    from keras import layers


    class Function(layers.Layer):
        def __init__(self, kind, **kwargs):
            super().__init__(**kwargs)
            self.kind = kind

        def call(self, x):
            return FUNCTIONS[self.kind](x)


    class Around(layers.Layer):
        def __init__(self, kind, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(3, name="dense")
            self.deep = Function(kind, name="deep")

        def build(self, shape):
            self.dense.build(shape)
            super().build(shape)

        def call(self, x):
            return self.dense(self.deep(x))


    @tf.custom_gradient
    def broken(x):
        return tf.identity(x), lambda dy: dy * float("nan")


    @tf.function
    def compiled(x):
        return x / tf.nn.relu(x - 10.0)


    FUNCTIONS = {
        "root": lambda x: tf.sqrt(tf.nn.relu(x)),
        "norm": lambda x: x * tf.norm(tf.nn.relu(x - 10.0), axis=-1, keepdims=True),
        "masked": lambda x: tf.where(x > 10.0, tf.math.log(tf.nn.relu(x - 10.0)), x),
        "ratio": lambda x: tf.where(x > 10.0, x / tf.nn.relu(x - 10.0), x),
        "guarded": lambda x: tf.where(x > 10.0, tf.sqrt(tf.where(x > 10.0, x - 10.0, tf.ones_like(x))), x),
        "forward": lambda x: tf.math.log(-tf.nn.relu(x) - 1.0),
        "custom": broken,
        "compiled": lambda x: tf.where(x > 10.0, compiled(x), x),
        "clipped": lambda x: tf.acos(tf.clip_by_value(100.0 * x, -1.0, 1.0)),
        "none": lambda x: x,
    }


    def flat(kind):
        x = keras.Input([4], name="x")
        h = layers.Dense(5, name="a")(x)
        return keras.Model(x, layers.Dense(2, name="b")(Function(kind, name="made")(h)))


    def nested(kind):
        x = keras.Input([4], name="x")
        h = layers.Dense(5, name="a")(x)
        return keras.Model(x, layers.Dense(2, name="b")(Around(kind, name="block")(h)))


    def twice(kind):
        x = keras.Input([4], name="x")
        function, dense = Function(kind, name="made"), layers.Dense(4, name="a")
        return keras.Model(x, layers.Dense(2, name="b")(function(dense(layers.Dense(4)(dense(x))))))


    def sequence(kind):
        x = keras.Input([3, 4], name="x")
        h = layers.LSTM(4, return_sequences=True, name="a")(x)
        return keras.Model(x, layers.Dense(2, name="b")(layers.GRU(3, name="last")(Function(kind, name="made")(h))))


    def group(weights):
        return tf.norm(weights)


    def penalised(kind):
        x = keras.Input([4], name="x")
        h = layers.Dense(5, name="a", kernel_regularizer=group, kernel_initializer="zeros")(x)
        return keras.Model(x, layers.Dense(2, name="b")(h))


    def root_loss():
        return lambda y, out: tf.reduce_mean(tf.sqrt(tf.nn.relu(out - 100.0)))


    def log_loss():
        return lambda y, out: tf.reduce_mean(tf.math.log(tf.nn.relu(out - 100.0)))


    def nan_batch():
        import numpy as np

        x = np.ones((6, 4), np.float32)
        x[2, 1] = np.nan
        return x, np.ones((6, 2), np.float32)
"""
TRAIN = """
    import tensorflow as tf

    def ones(check):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            h = front(check.x, training=check.training)
        with tf.GradientTape() as tape_1:
            loss = check.loss(check.y, back(h, training=check.training))
        return [*tape_0.gradient(h, front.trainable_variables), *tape_1.gradient(loss, back.trainable_variables)]

    def ascent_behind(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training))
        *rest, kernel, bias = tape.gradient(loss, check.variables)
        return [*rest, kernel, None]

    def divided(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training))
        first, *rest = tape.gradient(loss, check.variables)
        return [first / 0.0, *rest]
"""


def checked(run: Run, model: str, kind: str, method: Any = "vjp", **config: Any) -> CheckReport:
    given = {
        "model": {"factory": f"./m.py:{model}", "kwargs": {"kind": kind}},
        "split": {"after": ["a"]},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 6},
        "methods": [method],
    }
    report = run({**given, **config}, {"m.py": MODELS, "train.py": TRAIN})
    assert report.error is None, report.error
    (check,) = report.checks
    assert check.error is None, check.error
    assert check.outcome == "mismatch", check.outcome
    return check


def only(run: Run, model: str, kind: str, method: Any = "vjp", **config: Any) -> Diagnosis:
    (found,) = checked(run, model, kind, method, **config).diagnoses
    assert found.code == "GC703"
    return found


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("root", "Sqrt has no finite slope at 0"),
        ("norm", "Sqrt has no finite slope at 0 (the root in a norm"),
        ("masked", "Log has no finite slope"),
        ("ratio", "RealDiv has no finite slope"),
        ("compiled", "RealDiv has no finite slope"),
        ("custom", "the backward pass of made makes it"),
    ],
)
@pytest.mark.parametrize("method", ["vjp", "numeric"])
def test_the_layer_and_the_operation_are_named(run: Run, kind: str, words: str, method: str) -> None:
    found = only(run, "flat", kind, method)
    assert (found.layer, found.segment, found.place) == ("made", 1, "layer made")
    assert words in found.evidence
    assert "Guard before the root" in found.fix


@pytest.mark.parametrize(
    ("method", "kind", "words"),
    [
        ("forward", "clipped", "by forward mode, and is by the tape: Acos has no finite slope at"),
        ("forward", "masked", "by the tape, and is by forward mode: the backward pass of made makes it"),
        ("forward", "root", "by the tape and by forward mode: the backward pass of made makes it"),
        ("numeric", "root", "by the tape, and is by finite differences: the backward pass of made makes it"),
        ("numeric", "forward", "by the tape and by finite differences: made makes it of finite inputs"),
        ("hvp", "clipped", "by the tape, and is by finite differences"),
        ("jacobian", "root", "by the tape and by products of Jacobians: the backward pass of made makes it"),
    ],
)
def test_the_way_of_differentiating_is_named(run: Run, method: str, kind: str, words: str) -> None:
    found = only(run, "flat", kind, method, report={"jacobians": True})
    assert f"is not finite {words}" in found.evidence
    assert "the first such gradient" not in found.evidence


WAYS = {
    "forward": "by forward mode",
    "numeric": "by finite differences",
    "hvp": "through the split",
    "jacobian": "by products of Jacobians",
}


@pytest.mark.parametrize("method", WAYS)
@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ({"against"}, "by the tape, and is {}"),
        ({"tensors"}, "{}, and is by the tape"),
        ({"against", "tensors"}, "by the tape and {}"),
    ],
)
def test_a_planted_nan_is_said_of_its_own_side(
    run: Run, monkeypatch: pytest.MonkeyPatch, method: str, sides: set[str], words: str
) -> None:
    compute = METHODS[method]

    def planted(problem: Any, options: Any) -> Any:
        found = compute(problem, options)
        key = list(found.against)[-1]
        broken = {side: {**getattr(found, side), key: getattr(found, side)[key] * np.nan} for side in sides}
        return replace(found, **broken)

    monkeypatch.setitem(METHODS, method, planted)
    found = only(run, "flat", "none", method, report={"jacobians": True})
    assert f" is not finite {words.format(WAYS[method])}" in found.evidence


def test_what_is_guarded_before_passes(run: Run) -> None:
    config = {"model": {"factory": "./m.py:flat", "kwargs": {"kind": "guarded"}}, "split": {"after": ["a"]}}
    assert run({**config, "methods": ["vjp"]}, {"m.py": MODELS}).verdict == "pass"


@pytest.mark.parametrize(("model", "layer"), [("nested", "block/deep"), ("twice", "made"), ("sequence", "made")])
def test_the_innermost_layer_is_meant(run: Run, model: str, layer: str) -> None:
    found = only(run, model, "norm")
    assert found.layer == layer
    assert f"the backward pass of {layer} makes it" in found.evidence


def test_what_the_forward_pass_makes(run: Run) -> None:
    found = only(run, "flat", "forward")
    assert (found.layer, found.segment) == ("made", 1)
    assert "made makes it of finite inputs and weights in the forward pass" in found.evidence


@pytest.mark.parametrize(
    ("model", "config", "words"),
    [
        (
            "flat",
            {"loss": {"factory": "./m.py:root_loss"}},
            "the loss is finite, and its gradient for the outputs is not",
        ),
        ("flat", {"loss": {"factory": "./m.py:log_loss"}}, "the loss makes it: the outputs of the model are finite"),
        ("penalised", {}, "the weight penalty of a/kernel makes it in the backward pass: Sqrt"),
        ("flat", {"data": {"batch_size": 6, "factory": "./m.py:nan_batch"}}, "the input x is not finite itself"),
    ],
)
def test_what_no_layer_makes(run: Run, model: str, config: Any, words: str) -> None:
    assert words in only(run, model, "none", **config).evidence


@pytest.mark.parametrize("config", [{"microbatches": 2}, {"execution": "graph"}, {"precision": "float64"}])
def test_however_it_is_run(run: Run, config: Any) -> None:
    assert only(run, "nested", "norm", **config).layer == "block/deep"


def candidate(name: str) -> Any:
    return {"candidate": {"factory": f"./train.py:{name}", "name": name}}


def test_a_mistake_that_makes_it_finite_is_no_mistake_that_was_seen(run: Run) -> None:
    """Ones in place of the cotangent hide the NaN: nothing is known of what they should have been."""
    assert only(run, "flat", "norm", candidate("ones")).layer == "made"


def test_a_mistake_beside_it_is_named_after_it(run: Run) -> None:
    first, second = checked(run, "flat", "norm", candidate("ascent_behind")).diagnoses
    assert (first.code, first.layer) == ("GC703", "made")
    assert (second.code, second.layer) == ("GC403", "b/bias")


def test_what_the_candidate_alone_makes_is_its_own(run: Run) -> None:
    found = only(run, "flat", "guarded", candidate("divided"))
    assert found.layer == "a"
    assert "a/kernel is not finite, and the reference is" in found.evidence


def test_training_on_it_names_no_fault(run: Run) -> None:
    train = {"steps": 2, "optimizer": {"SGD": {"learning_rate": 0.1}}}
    assert only(run, "flat", "norm", train=train).layer == "made"


def test_where_finite_differences_disagree_elsewhere_both_are_said(run: Run) -> None:
    """A wrong gradient behind a root of zero: the NaN covers what is in front of it, not the layer behind it."""
    files = {"m.py": MODELS + BEHIND}
    config = {"model": {"factory": "./m.py:behind"}, "loss": "MeanSquaredError", "data": {"batch_size": 6}}
    (check,) = run({**config, "methods": ["numeric"]}, files).checks
    assert [d.code for d in check.diagnoses][:1] == ["GC703"]
    wrong = [d for d in check.diagnoses if d.code == "GC601"]
    assert wrong
    assert "late/bias" in wrong[-1].evidence
    assert "a/kernel" not in wrong[-1].evidence


BEHIND = """

    @tf.custom_gradient
    def halved(x):
        return tf.identity(x), lambda dy: 0.5 * dy


    class Half(layers.Layer):
        def call(self, x):
            return halved(x)


    def behind():
        x = keras.Input([4], name="x")
        h = Function("norm", name="made")(layers.Dense(5, name="a")(x))
        h = Half(name="half")(layers.Dense(3, name="late")(h))
        return keras.Model(x, layers.Dense(2, name="b")(h))
"""

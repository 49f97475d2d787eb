"""A loss that calls the model, and differentiates it, across the cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.config.load import load_config
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.split import HandOff, split
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODELS = """
import keras
from keras import Input, Model, layers

def net(stopped=False):
    x = Input([2], name="tx")
    h = layers.Dense(8, activation="tanh", name="h1")(x)
    h = layers.Dense(8, activation="tanh", name="h2")(keras.ops.stop_gradient(h) if stopped else h)
    return Model(x, layers.Dense(1, name="u")(h))

def front(stopped=False):
    x = Input([2], name="tx")
    h = layers.Dense(8, activation="tanh", name="h1")(x)
    return Model(x, keras.ops.stop_gradient(h) if stopped else h, name="front")

def back():
    h = Input([8], name="h")
    return Model(h, layers.Dense(1, name="u")(layers.Dense(8, activation="tanh", name="h2")(h)), name="back")

def critic():
    x, y = Input([4], name="image"), Input([2], name="label")
    h = layers.Dense(6, activation="tanh", name="h1", kernel_regularizer="l2")(layers.Concatenate(name="both")([x, y]))
    h = layers.Dropout(0.25, name="drop")(h)
    z = layers.Dense(6, activation="softplus", name="h2")(h)
    return Model({"image": x, "label": y}, {"score": layers.Dense(1, name="score")(layers.Add(name="skip")([h, z]))})

def stateful():
    x = Input([4], name="x")
    h = layers.BatchNormalization(name="norm")(layers.Dense(6, name="h1")(x))
    return Model(x, layers.Dense(1, name="out")(layers.Activation("tanh", name="act")(h)))

def masked():
    x = Input([5], dtype="int32", name="tokens")
    return Model(x, layers.Dense(1, name="out")(layers.GRU(3, name="gru")(layers.Embedding(7, 4, mask_zero=True)(x))))
"""
LOSSES = """
import tensorflow as tf

def physics(model, x, y):
    with tf.GradientTape() as t2:
        t2.watch(x)
        with tf.GradientTape() as t1:
            t1.watch(x)
            u = model(x)
        du = t1.gradient(u, x)
        u_x = du[:, 1:2]
    u_xx = t2.gradient(u_x, x)[:, 1:2]
    return tf.reduce_mean(tf.square(du[:, 0:1] - u_xx))

def penalty(model, x, y, training):
    image, label = x["image"], x["label"]
    fake = tf.reverse(image, [0])
    between = 0.3 * image + 0.7 * fake
    with tf.GradientTape() as tape:
        tape.watch(between)
        score = model({"image": between, "label": label}, training=training)["score"]
    slope = tape.gradient(score, between)
    size = tf.sqrt(tf.reduce_sum(tf.square(slope), -1) + 1e-6)
    real, made = (model({"image": i, "label": label}, training=training)["score"] for i in (image, fake))
    return tf.reduce_mean(made) - tf.reduce_mean(real) + 10.0 * tf.reduce_mean(tf.square(size - 1.0))

def plain(model, x, y, training):
    return tf.reduce_mean(tf.square(model(x, training=training) - y))

def layers_of(model, x, y):
    return tf.reduce_mean(model(x)) + 0.0 * len(model.layers)
"""
PINN = """
    model: {factory: "./m.py:net"}
    split: {after: [h1]}
    loss: {of_model: "./f.py:physics"}
    data: {batch_size: 6}
"""
CRITIC = """
    model: {factory: "./m.py:critic"}
    split: {every: layer}
    loss: {of_model: "./f.py:penalty"}
    data: {batch_size: 6}
"""
FILES = {"m.py": MODELS, "f.py": LOSSES}


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_a_loss_on_second_derivatives_goes_across_the_cuts(run: Run, execution: str) -> None:
    found = run(PINN, FILES, execution=execution, split={"every": "layer"}, verify_reference="never")
    (check,) = found.checks
    assert (found.verdict, check.outcome) == ("pass", "match"), found.error
    assert {t.path: t.status for t in check.tensors}["u/bias"] in ("absent", "dead")
    assert sum(t.kind == "weight" and t.status in ("exact", "close") for t in check.tensors) == 5
    assert {t.kind for t in check.tensors} == {"weight", "input", "loss"}


def test_a_gradient_penalty_with_dropout_a_skip_connection_and_named_tensors(run: Run) -> None:
    found = run(CRITIC, FILES, methods=["vjp", {"naive": {"expect": "mismatch"}}])
    assert (found.verdict, [check.outcome for check in found.checks]) == ("pass", ["match", "mismatch"]), found.error


def test_every_other_method_that_takes_it(run: Run) -> None:
    methods = ["numeric", "forward", "hvp"]
    found = run(PINN, FILES, methods=methods, verify_reference="always")
    assert [(check.method, check.outcome) for check in found.checks] == [(m, "match") for m in methods]


def test_the_state_moves_as_in_the_whole_model(run: Run) -> None:
    config = CRITIC.replace("critic", "stateful").replace("penalty", "plain")
    (check,) = run(config, FILES).checks
    assert check.outcome == "match"
    assert [t.path for t in check.tensors if t.kind == "state"]


def test_masks_cross(run: Run) -> None:
    config = CRITIC.replace("critic", "masked").replace("penalty", "plain")
    constant = {"batch_size": 2, "factory": "./d.py:batch"}
    data = "import numpy as np\ndef batch():\n    return np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 1]], 'int32'), None\n"
    (check,) = run(config, {**FILES, "d.py": data}, data=constant).checks
    assert check.outcome == "match"


def test_slices_are_weighed_by_their_examples(run: Run) -> None:
    found = run(PINN, FILES, microbatches=4)  # of 2, 2 and 2: the loss is a mean over the examples
    assert found.verdict == "pass"
    assert any("equal those over the whole batch" in note for note in found.notes)


def test_training_steps(run: Run) -> None:
    found = run(PINN, FILES, train={"steps": 2, "optimizer": "Adam"}, microbatches=2)
    (check,) = found.checks
    assert (found.verdict, check.outcome) == ("pass", "match"), found.error


PARTS = """
    model:
      segments: [{factory: "./m.py:front", kwargs: {stopped: STOPPED}}, {factory: "./m.py:back"}]
      reference: {factory: "./m.py:net"}
    loss: {of_model: "./f.py:physics"}
    data: {batch_size: 6}
"""


def test_parts_beside_the_whole_model(run: Run) -> None:
    assert run(PARTS.replace("STOPPED", "false"), FILES).checks[0].outcome == "match"


def test_a_gradient_that_is_stopped_at_the_boundary_is_caught(run: Run) -> None:
    found = run(PARTS.replace("STOPPED", "true"), FILES)
    assert found.exit_code != 0
    assert found.error is not None or found.checks[0].outcome == "mismatch"


def test_what_a_split_model_does_not_have(run: Run) -> None:
    found = run(PINN.replace("physics", "layers_of"), FILES)
    assert "can only be called: it has no `layers`" in str(found)
    assert "f.py" in str(found)


class Stopped(HandOff):
    """The cotangent is handed on as a number: the derivative of an inner derivative is lost there."""

    def cotangent(self, segment: Any, ref: Any, output: Any, cotangent: Any) -> Any:
        """It without its origin."""
        return tf.stop_gradient(super().cotangent(segment, ref, output, cotangent))


class Dropped(HandOff):
    """What comes back to a boundary is dropped."""

    def input_cotangent(self, segment: Any, ref: Any, gradient: Any) -> Any:
        """Zeros, but for the model's inputs."""
        found = super().input_cotangent(segment, ref, gradient)
        return found if ref.is_input else tf.zeros_like(found)


@pytest.fixture
def problem(tmp_path: Path) -> Iterator[Problem]:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "c.yaml").write_text(PINN.replace("\n    ", "\n"))
    config = load_config(tmp_path / "c.yaml").config
    with session(config):
        yield prepare(config, tmp_path)


@pytest.mark.parametrize("steps", [Stopped, Dropped])
def test_a_wrong_hand_off_shows(problem: Problem, steps: type[HandOff]) -> None:
    right, wrong = (split(problem, batch_tensors(problem), made()).gradients for made in (HandOff, steps))
    apart = [
        key.path
        for key, gradient in right.items()
        if key.kind == "weight" and gradient is not None
        if wrong[key] is None or not np.allclose(gradient, wrong[key], rtol=1e-3, atol=1e-6)
    ]
    assert "h1/kernel" in apart

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.batch.loss import Loss, build_loss
from gradcheck.config.sections.loss import LossSpec
from gradcheck.errors import NotApplicable, RunError

if TYPE_CHECKING:
    from pathlib import Path

LOSSES = """
import tensorflow as tf
def of_list():
    def loss(y, outputs):
        assert isinstance(y, list) and isinstance(outputs, list)
        return tf.reduce_mean(y[0] * outputs[0]) * tf.reduce_mean(y[1] * outputs[1])
    return loss
def of_mapping():
    return lambda y, outputs: tf.reduce_mean(y["key_0"] * outputs["key_1"])
def of_one():
    return lambda y, output: tf.reduce_mean(y * output)
def weighted():
    def loss(y, outputs, sample_weight):
        return tf.reduce_sum(sample_weight[0] * outputs[0][:, 0]) + tf.reduce_sum(sample_weight[1])
    return loss
def of_examples():
    return lambda y, outputs: tf.reduce_mean(outputs[0], -1)
def nothing():
    return lambda y, outputs: None
def unpacks():
    def loss(y, outputs):
        policy, value = outputs
        return policy
    return loss

def called(model, x, y, training=None, factor=1.0):
    assert training is True
    return factor * tf.reduce_mean(model(x) * y)
def takes_weight(model, x, y, sample_weight):
    return tf.reduce_sum(model(x)[:, 0] * sample_weight)
def of_rows(model, x, y):
    return model(x)
NUMBER = 3
"""
Y = tf.constant(np.random.default_rng(0).normal(size=(4, 2)), "float32")
OUT = tf.constant(np.random.default_rng(1).normal(size=(4, 2)), "float32")


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def model(outputs: int = 1, *, mapping: bool = False) -> keras.Model:
    x = keras.Input((3,), name="x")
    made = [keras.layers.Dense(2, name=f"out_{i}")(x) for i in range(outputs)]
    named = {f"key_{i}": t for i, t in reversed(list(enumerate(made)))}
    return keras.Model(x, named if mapping else made[0] if outputs == 1 else made)


def build(path: Path, written: dict[str, Any], of: keras.Model) -> Loss:
    (path / "loss.py").write_text(LOSSES)
    written = {key: f"./loss.py:{value}" if isinstance(value, str) else value for key, value in written.items()}
    return build_loss(LossSpec.model_validate(written), None, of, base=path, seed=0)


def joint(path: Path, name: str, of: keras.Model) -> Loss:
    return build(path, {"factory": name, "joint": True}, of)


def test_a_joint_loss_takes_the_outputs_in_their_structure(tmp_path: Path) -> None:
    mean = float(tf.reduce_mean(Y * OUT))
    assert float(joint(tmp_path, "of_list", model(2))([Y, Y], [OUT, OUT])) == pytest.approx(mean**2, rel=1e-5)
    assert float(joint(tmp_path, "of_one", model())(Y, OUT)) == pytest.approx(mean, rel=1e-5)
    loss = joint(tmp_path, "of_mapping", model(2, mapping=True))
    given = {"key_0": Y, "key_1": OUT}
    assert float(loss(given, given)) == pytest.approx(mean, rel=1e-5)


def test_its_slices_are_weighed_by_their_examples(tmp_path: Path) -> None:
    loss = joint(tmp_path, "of_list", model(2))
    assert [term and term.reduction for term in loss.weighed] == [None, None]
    whole = float(loss([Y, Y], [OUT, OUT]))
    assert float(loss([Y, Y], [OUT, OUT], None, (0.25, 0.25))) == pytest.approx(whole / 4)


def test_sample_weights_of_a_joint_loss(tmp_path: Path) -> None:
    weight = tf.constant([1.0, 0.0, 2.0, 1.0])
    found = joint(tmp_path, "weighted", model(2))([Y, Y], [OUT, OUT], [weight, weight])
    assert float(found) == pytest.approx(float(tf.reduce_sum(weight * OUT[:, 0])) + 4.0, rel=1e-5)
    with pytest.raises(ValueError, match="sample_weight argument"):
        joint(tmp_path, "of_list", model(2))([Y, Y], [OUT, OUT], [weight, weight])


@pytest.mark.parametrize(("name", "received"), [("of_examples", r"shape \(4,\)"), ("nothing", "None")])
def test_a_joint_loss_is_a_scalar(tmp_path: Path, name: str, received: str) -> None:
    with pytest.raises(ValueError, match=f"a joint loss returns a scalar. Received: {received}"):
        joint(tmp_path, name, model(2))([Y, Y], [OUT, OUT])


def test_a_function_of_all_outputs_that_is_called_for_each_says_how_it_is_called(tmp_path: Path) -> None:
    y, out = tf.zeros((4, 3)), tf.zeros((4, 3))
    with pytest.raises(RunError, match="too many values to unpack") as caught:
        build(tmp_path, {"factory": "unpacks"}, model(2))([y, y], [out, out])
    assert caught.value.code == "GC053"
    assert "once for each output, as f(y, output); `loss: {factory: ..., joint: true}`" in (caught.value.help or "")
    assert caught.value.location is not None
    assert caught.value.location.path.name == "loss.py"


def test_a_loss_of_the_model_calls_it(tmp_path: Path) -> None:
    of = model()
    loss = build(tmp_path, {"of_model": "called", "kwargs": {"factor": 2.0}}, of)
    x = tf.ones((4, 3))
    expected = 2 * float(tf.reduce_mean(of(x) * Y))
    found, outputs = loss.of(of, [x], [Y], None, training=True)
    assert outputs == []
    assert float(found) == pytest.approx(expected, rel=1e-5)
    found, _ = loss.of(of, [x], [Y], None, training=True, scales=(0.5,))
    assert float(found) == pytest.approx(expected / 2, rel=1e-5)
    with pytest.raises(NotApplicable, match="a function of the model"):
        loss(Y, OUT)


def test_sample_weights_of_a_loss_of_the_model(tmp_path: Path) -> None:
    of, x, weight = model(), tf.ones((4, 3)), tf.constant([1.0, 0.0, 2.0, 1.0])
    found, _ = build(tmp_path, {"of_model": "takes_weight"}, of).of(of, [x], [Y], [weight], training=True)
    assert float(found) == pytest.approx(4 * float(of(x)[0, 0]), rel=1e-5)
    with pytest.raises(RunError, match="sample_weight argument"):
        build(tmp_path, {"of_model": "called"}, of).of(of, [x], [Y], [weight], training=True)


@pytest.mark.parametrize(
    ("name", "message"), [("NUMBER", "must be a function"), ("of_rows", r"returns a scalar. Received: shape \(4, 2\)")]
)
def test_a_loss_of_the_model_that_is_none(tmp_path: Path, name: str, message: str) -> None:
    of = model()
    with pytest.raises(RunError, match=message) as caught:
        build(tmp_path, {"of_model": name}, of).of(of, [tf.ones((4, 3))], [Y], None, training=True)
    assert caught.value.code == "GC053"

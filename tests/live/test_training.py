"""`check_training`: a live model in its ways of training, and everything afterwards as it was before."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck import check_training
from gradcheck.config.sections.methods import WAYS
from gradcheck.errors import ConfigError
from gradcheck.session import patience
from tests.live.test_untouched import everything, numbers, seeded


class Halved(keras.layers.Layer):
    """A class of this module, which another process has not registered."""

    def call(self, x: Any) -> Any:
        return 0.5 * x


class Own(keras.Model):
    """A training step of its own, compiled once and kept; `factor` is of its gradients."""

    factor = 1.0

    @tf.function
    def train_step(self, data: Any) -> dict[str, Any]:
        x, y = data
        with tf.GradientTape() as tape:
            value = self.compute_loss(x, y, self(x, training=True))
        gradients = tape.gradient(value, self.trainable_variables)
        self.optimizer.apply([self.factor * gradient for gradient in gradients], self.trainable_variables)
        return {"loss": value}


class Wrong(Own):
    factor = -1.0


def network(kind: Any = keras.Model, *between: keras.layers.Layer, **arguments: Any) -> Any:
    """A compiled model that has been trained, so that its optimizer has slots."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    tensor = inputs = keras.Input((4,))
    for layer in (keras.layers.Dense(5, activation="tanh", name="first"), *between):
        tensor = layer(tensor)
    model = kind(inputs, keras.layers.Dense(2, name="out")(tensor))
    model.compile(**{"optimizer": keras.optimizers.Adam(0.01), "loss": "mse", "metrics": ["mae"], **arguments})
    model.fit(*batch(), batch_size=6, verbose=0)
    return model


def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 2)).astype("float32")


def outcomes(report: Any) -> dict[str, str]:
    (run,) = report.runs
    assert run.error is None, run.error
    return {check.method: check.outcome for check in run.checks if check.method not in ("jax", "torch")}


def test_all_ways_and_nothing_is_changed() -> None:
    """A layer of this module is there in the other processes too."""
    model = network(keras.Model, Halved(name="half"), keras.layers.BatchNormalization())
    compiled = {
        name: vars(model)[name] for name in ("optimizer", "_compile_loss", "_compile_metrics", "train_function")
    }
    before = everything(model)
    report = check_training(model, batch(), steps=2)
    assert everything(model) == before
    assert {name: vars(model)[name] for name in compiled} == compiled
    found = outcomes(report)
    assert set(found) == set(WAYS)
    assert found.pop("remat") == "mismatch"  # batch normalisation's statistics move twice
    assert found.pop("replicas") in {"match", "mismatch"}
    assert set(found.values()) == {"match"}


def test_no_random_numbers_are_used_up() -> None:
    model = network(keras.Model, keras.layers.Dropout(0.5))
    seeded()
    expected = numbers()
    before = everything(model)
    seeded()
    found = outcomes(check_training(model, batch(), ["fit", "accumulate"], steps=2))
    assert numbers() == expected
    assert everything(model) == before
    assert found == {"fit": "match", "accumulate": "match"}


def test_the_first_batch_of_a_dataset() -> None:
    model = network()
    x, y = batch()
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(3)
    from_dataset = check_training(model, data, "fit", steps=2)
    from_arrays = check_training(model, x=x[:3], y=y[:3], ways="fit", steps=2)
    assert outcomes(from_dataset) == {"fit": "match"}
    assert from_dataset.runs[0].checks[0].loss == from_arrays.runs[0].checks[0].loss


def test_weights_of_examples() -> None:
    x, y = batch()
    weights = np.array([1, 2, 3, 4, 5, 6], "float32")
    report = check_training(network(), (x, y, weights), "fit", steps=2)
    assert outcomes(report) == {"fit": "match"}
    plain = check_training(network(), (x, y), "fit", steps=2)
    assert report.runs[0].checks[0].loss > 1.5 * plain.runs[0].checks[0].loss


def test_a_training_step_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network(Own, metrics=None)
    before = everything(model)
    assert outcomes(check_training(model, batch(), ["fit", "compiled"], steps=2)) == dict.fromkeys(
        ("fit", "compiled"), "match"
    )
    assert everything(model) == before
    model.fit(*batch(), verbose=0)  # as it would without a check
    monkeypatch.setattr(patience, "SECONDS", 60.0)
    wrong = network(Wrong, metrics=None)
    report = check_training(wrong, batch(), "fit", steps=1)
    assert outcomes(report) == {"fit": "mismatch"}
    assert not report
    assert [d.code for d in report.runs[0].checks[0].diagnoses] == ["GC504"]
    assert "trained by Wrong's own train_step" in report.runs[0].checks[0].notes


def test_callbacks_and_another_optimizer() -> None:
    halving = keras.callbacks.LearningRateScheduler(lambda _, rate: 0.5 * rate)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model = network()
    report = check_training(model, batch(), "fit", optimizer=optimizer, steps=3, callbacks=[halving])
    (check,) = report.runs[0].checks
    assert check.outcome == "match"
    assert "callbacks set the learning rate (0.05, 0.025, 0.0125), and the plain loop took it over" in check.notes
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    assert isinstance(model.optimizer, keras.optimizers.Adam)


def test_options_of_a_way() -> None:
    report = check_training(
        network(), batch(), [{"accumulate": {"steps": 3}}, {"fit": {"expect": "mismatch"}}], steps=2
    )
    assert [(c.method, c.outcome, c.as_expected) for c in report.runs[0].checks] == [
        ("accumulate", "match", True),
        ("fit", "match", False),
    ]


def test_a_model_that_is_not_compiled() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ConfigError, match="the model is not compiled: there is no optimizer") as caught:
        check_training(model, batch(), "fit")
    assert caught.value.help == "give optimizer="
    with pytest.raises(ConfigError, match="the model is not compiled: there is no loss"):
        check_training(model, batch(), "fit", optimizer="sgd")
    assert outcomes(check_training(model, batch(), "fit", optimizer="sgd", loss="mse", steps=1)) == {"fit": "match"}


@pytest.mark.parametrize(
    ("arguments", "message", "help_"),
    [
        ({"ways": "fitt"}, "no way of training is called fitt", "did you mean `fit`?"),
        ({"ways": ["fit", {"acumulate": {}}]}, "no way of training is called acumulate", "did you mean `accumulate`?"),
        ({"ways": ["vjp"]}, "no way of training is called vjp", "The ways of training"),
        ({"ways": [{}]}, "no way of training is called ", "The ways of training"),
        ({"steps": 0}, "steps counts from 1. Received: 0", ""),
    ],
)
def test_arguments_that_are_wrong(arguments: dict[str, Any], message: str, help_: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_training(network(), batch(), **arguments)
    assert caught.value.message == message
    assert (caught.value.help or "").startswith(help_)

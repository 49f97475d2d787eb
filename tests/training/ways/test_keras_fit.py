"""Keras's `fit` beside the plain loop: training steps of one's own, callbacks, class weights and several outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.training.trained import statuses

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Models with a `train_step` or a `compute_loss` of their own, of which `kind` says what is wrong with it.
MODELS = """
    import keras
    import tensorflow as tf
    from keras import ops

    class Own(keras.Model):
        kind = "right"

        def value(self, x, y, outputs):
            return self.compute_loss(x, y, outputs)

        def train_step(self, data):
            x, y, *weight = data
            variables = self.trainable_variables
            with tf.GradientTape() as tape:
                outputs = self(x, training=True)
                value = self.compute_loss(x, y, outputs, *weight)
                if self.kind == "absolute loss":
                    value = ops.mean(ops.abs(y - outputs))
            gradients = tape.gradient(value, variables)
            if self.kind == "ascending":
                gradients = [-gradient for gradient in gradients]
            if self.kind == "half of the variables":
                half = len(variables) // 2
                gradients, variables = gradients[half:], variables[half:]
            if self.kind == "rate":
                self.optimizer.learning_rate.assign(0.5 * self.optimizer.learning_rate)
            self.optimizer.apply(gradients, variables)
            return {"loss": value}

    class OwnLoss(keras.Model):
        power = 2

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(ops.power(ops.abs(y - y_pred), self.power))

    class OwnCompile(Own):
        def compile(self, optimizer, teacher):
            super().compile(optimizer=optimizer)

    class Several(keras.Model):
        pass

    def network(kind):
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(5, activation="tanh", name="first")(inputs)
        return kind(inputs, keras.layers.Dense(1, name="out")(hidden))

    def own(kind):
        return network(type("Own", (Own,), {"kind": kind}))

    def own_loss(power):
        return network(type("OwnLoss", (OwnLoss,), {"power": power}))

    def own_compile():
        return network(OwnCompile)

    def plain():
        return network(keras.Model)

    def classes():
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="out")(inputs))

    def several():
        left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
        joined = keras.layers.Concatenate()([left, right])
        outputs = {name: keras.layers.Dense(1, name=name)(joined) for name in ("near", "far")}
        return keras.Model({"left": left, "right": right}, outputs)
"""
CALLBACKS = """
    import keras

    def halving():
        return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.5 * rate)]

    def stopping():
        return [keras.callbacks.EarlyStopping("loss", patience=0, min_delta=1e9)]

    class Raising(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise ValueError("the disk is full")

    def raising():
        return [Raising()]

    class Decaying(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for weight in self.model.trainable_weights:
                weight.assign(0.9 * weight)

    def decaying():
        return [Decaying()]
"""
DATA = """
    import numpy as np

    def weighted(seed):
        rng = np.random.default_rng(seed)
        return rng.normal(size=(6, 4)).astype("float32"), rng.integers(0, 3, 6), rng.uniform(1, 2, 6).astype("float32")
"""
FILES = {"models.py": MODELS, "callbacks.py": CALLBACKS, "data.py": DATA}


@pytest.fixture
def fitted(run: Run) -> Callable[..., RunReport]:
    """Runs `fit` on a model of `MODELS`."""

    def run_one(factory: str, *, steps: int = 2, options: Any = None, optimizer: Any = "SGD", **keys: Any) -> RunReport:
        function, _, argument = factory.partition(":")
        model: dict[str, Any] = {"factory": f"./models.py:{function}"}
        if argument:
            name = {"own": "kind", "own_loss": "power"}[function]
            model["kwargs"] = {name: int(argument) if argument.isdigit() else argument}
        config = {
            "model": model,
            "loss": "MeanSquaredError",
            "data": {"batch_size": 6},
            "train": {"steps": steps, "optimizer": optimizer},
            "methods": [{"fit": options or {}}],
            "verify_reference": "never",
            **keys,
        }
        return run(config, FILES)

    return run_one


def only(found: RunReport, outcome: str = "match") -> CheckReport:
    assert found.error is None, found.error
    (check,) = found.checks
    assert check.outcome == outcome, (check.failures[:3], check.notes)
    return check


def codes(check: CheckReport) -> list[tuple[str, str]]:
    return [(diagnosis.code, diagnosis.confidence) for diagnosis in check.diagnoses]


def test_a_training_step_of_its_own(fitted: Callable[..., RunReport]) -> None:
    check = only(fitted("own:right", optimizer="Adam", steps=3))
    assert "trained by Own's own train_step" in check.notes
    assert set(statuses(check, "weight", "value", 3).values()) <= {"exact", "close"}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("kind", "code"), [("half of the variables", "GC102"), ("ascending", "GC504")])
def test_a_known_mistake_in_it(fitted: Callable[..., RunReport], kind: str, code: str) -> None:
    check = only(fitted(f"own:{kind}"), "mismatch")
    assert (check.first_failing_step, codes(check)) == (1, [(code, "exact")])


@pytest.mark.parametrize("kind", ["absolute loss", "rate"])
def test_another_mistake_in_it(fitted: Callable[..., RunReport], kind: str) -> None:
    check = only(fitted(f"own:{kind}"), "mismatch")
    assert (check.first_failing_step, codes(check)) == (1, [("GC900", "possible")])
    assert {t.path for t in check.tensors if t.failed and t.step == 1} >= {"first/kernel", "out/kernel"}


@pytest.mark.parametrize(("power", "outcome"), [(2, "match"), (3, "mismatch")])
def test_a_loss_of_its_own(fitted: Callable[..., RunReport], power: int, outcome: str) -> None:
    check = only(fitted(f"own_loss:{power}"), outcome)
    assert "trained by OwnLoss's own compute_loss" in check.notes


def test_callbacks_that_set_the_learning_rate(fitted: Callable[..., RunReport]) -> None:
    check = only(fitted("plain", steps=3, options={"callbacks": "./callbacks.py:halving"}))
    (note,) = [note for note in check.notes if "learning rate" in note]
    assert note == "callbacks set the learning rate (0.005, 0.0025, 0.00125), and the plain loop took it over"


def test_a_callback_that_ends_training(fitted: Callable[..., RunReport]) -> None:
    check = only(fitted("plain", steps=4, options={"callbacks": "./callbacks.py:stopping"}))
    assert check.steps == 2
    assert "a callback ended training after step 2 of 4" in check.notes


def test_a_callback_that_changes_weights(fitted: Callable[..., RunReport]) -> None:
    check = only(fitted("plain", options={"callbacks": "./callbacks.py:decaying"}), "mismatch")
    assert check.first_failing_step == 1


def test_a_callback_that_raises(fitted: Callable[..., RunReport]) -> None:
    found = fitted("plain", options={"callbacks": "./callbacks.py:raising"})
    assert found.error is not None
    assert (found.verdict, found.error.code) == ("error", "GC053")
    assert found.error.message == "fit raised ValueError: the disk is full"
    assert found.error.location is not None
    assert found.error.location.path.name == "callbacks.py"
    assert "the disk is full" in found.error.location.excerpt
    assert found.exit_code == 3


def test_class_weights(fitted: Callable[..., RunReport]) -> None:
    options = {"class_weight": {0: 0.5, 1: 2.0, 2: 1.0}}
    check = only(fitted("classes", loss="SparseCategoricalCrossentropy", options=options))
    unweighted = only(fitted("classes", loss="SparseCategoricalCrossentropy"))
    assert check.loss != pytest.approx(unweighted.loss, rel=1e-3)


def test_class_weights_beside_sample_weights(fitted: Callable[..., RunReport]) -> None:
    data = {"factory": "./data.py:weighted", "kwargs": {"seed": 1}}
    loss = "SparseCategoricalCrossentropy"
    found = fitted("classes", loss=loss, data=data, options={"class_weight": {0: 0.5, 1: 2.0, 2: 1.0}})
    assert found.checks == ()
    assert "fit does not apply: class_weight is for one output, without a sample_weight" in found.notes
    only(fitted("classes", loss=loss, data=data))


def test_several_outputs_and_inputs_by_name(fitted: Callable[..., RunReport]) -> None:
    loss = {"near": "MeanSquaredError", "far": "MeanAbsoluteError"}
    keys = {"loss": loss, "loss_weights": {"near": 0.25, "far": 2.0}}
    check = only(fitted("several", **keys))
    assert statuses(check, "weight", "value", 2).keys() == {"near/kernel", "near/bias", "far/kernel", "far/bias"}


def test_a_compile_of_its_own(fitted: Callable[..., RunReport]) -> None:
    found = fitted("own_compile")
    (note,) = [note for note in found.notes if note.startswith("fit does not apply")]
    assert "the model's own compile takes other arguments" in note


def test_several_optimizers(fitted: Callable[..., RunReport]) -> None:
    several = {"default_optimizer": "SGD", "optimizer_map": {".*kernel": "Adam"}}
    only(fitted("plain", optimizer={"MultiOptimizer": {"optimizer_map": several}}))

"""What the report of an audit says beside its verdict: the loss, the first wrong variable, the note on training."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import gradcheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

X = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
Y = X[:, :1]


def mean_square(y: Any, out: Any) -> Any:
    return tf.reduce_mean((out - y) ** 2)


def dense(*more: keras.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), *more, keras.layers.Dense(1)], name="m")


def audited(step: Callable[[], Any]) -> RunReport:
    with gradcheck.audit() as audit:
        step()
    (run,) = audit.report.runs
    return run


def micro_batches(model: keras.Model, *, divided_by: int, compiled: bool = False) -> list[float]:
    """One update by two micro-batches; their losses."""

    def gradients(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            loss = mean_square(y, model(x, training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    found = [(tf.function(gradients) if compiled else gradients)(X[i : i + 4], Y[i : i + 4]) for i in (0, 4)]
    pairs = zip(*(grads for _, grads in found), strict=True)
    total = [(a + b) / divided_by for a, b in pairs]
    keras.optimizers.SGD(0.1).apply(total, model.trainable_variables)
    return [float(loss) for loss, _ in found]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("divided_by", [2, 1])
def test_the_loss_is_that_of_the_gradients(divided_by: int, *, compiled: bool) -> None:
    losses: list[float] = []
    run = audited(lambda: losses.extend(micro_batches(dense(), divided_by=divided_by, compiled=compiled)))
    assert run.verdict == ("pass" if divided_by == 2 else "fail")
    assert run.reference is not None
    assert run.reference.loss == pytest.approx(sum(losses) / 2, rel=1e-6)


def test_two_losses_of_different_variables_are_none() -> None:
    def step() -> None:
        for targets in (Y, Y + 1):
            model = dense()
            with tf.GradientTape() as tape:
                loss = mean_square(targets, model(X))
            grads = tape.gradient(loss, model.trainable_variables)
            keras.optimizers.SGD(0.1).apply(grads, model.trainable_variables)

    run = audited(step)
    assert run.verdict == "pass"
    assert run.reference is not None
    assert run.reference.gradient_norm > 0
    assert math.isnan(run.reference.loss)


def test_the_loss_contains_a_penalty_that_its_gradient_has() -> None:
    model = dense()
    model.layers[0].kernel.regularizer = keras.regularizers.L2(0.5)
    expected: list[float] = []

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = mean_square(Y, model(X))
        expected.append(float(loss) + float(sum(model.losses)))
        grads = tape.gradient(loss, model.trainable_variables)
        keras.optimizers.SGD(0.1).apply(grads, model.trainable_variables)

    run = audited(step)
    assert [d.code for d in run.checks[0].diagnoses] == ["GC501"]
    assert run.reference is not None
    assert run.reference.loss == pytest.approx(expected[0], rel=1e-6)


def test_first_wrong_is_the_variable_that_was_read_last() -> None:
    late, early = keras.layers.Dense(1, name="late"), keras.layers.Dense(3, name="early")
    late.build((None, 3))
    early.build((None, 4))
    model = keras.Sequential([keras.Input((4,)), early, late])

    def step(*, forward: Any) -> None:
        tf.reduce_sum(late.kernel)  # as for a log: no forward pass
        variables = [*late.trainable_variables, *early.trainable_variables]
        with tf.GradientTape() as tape:
            loss = mean_square(Y, forward(X))
        keras.optimizers.SGD(0.1).apply([3.7 * g for g in tape.gradient(loss, variables)], variables)

    (check,) = audited(lambda: step(forward=model)).checks
    assert len(check.failures) == 4
    assert check.first_divergence == "late/bias"
    assert [t.path for t in check.tensors] == ["early/kernel", "early/bias", "late/kernel", "late/bias"]

    compiled = tf.function(model)
    compiled(X)  # traced before anybody watches
    (check,) = audited(lambda: step(forward=compiled)).checks
    assert len(check.failures) == 4
    assert check.first_divergence is None


class Own(keras.Model):
    """A model of the user's own."""

    def __init__(self) -> None:
        super().__init__(name="own")
        self.drop, self.dense = keras.layers.Dropout(0.5), keras.layers.Dense(1)


class TrainedByDefault(Own):
    def call(self, x: Any, training: bool = True) -> Any:  # noqa: ARG002, FBT002 - as people write it
        return self.dense(self.drop(x))


class InferenceByDefault(Own):
    def call(self, x: Any, training: bool = False) -> Any:  # noqa: FBT002 - as people write it
        return self.dense(self.drop(x, training=training))


def monte_carlo() -> keras.Model:
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(1)(keras.layers.Dropout(0.5)(x, training=True)), name="m")


def frozen_statistics() -> keras.Model:
    normal = keras.layers.BatchNormalization()
    normal.trainable = False
    return dense(normal)


BOTH = (keras.layers.BatchNormalization, lambda: keras.layers.Dropout(0.5))


@pytest.mark.parametrize(
    ("build", "arguments", "said"),
    [
        (lambda: dense(*(layer() for layer in BOTH)), {}, "m had training=True: its BatchNormalization, Dropout ran"),
        (InferenceByDefault, {}, "own had training=True: its Dropout ran as in inference"),
        (lambda: dense(*(layer() for layer in BOTH)), {"training": True}, None),
        (lambda: dense(*(layer() for layer in BOTH)), {"training": False}, None),
        (TrainedByDefault, {}, None),
        (monte_carlo, {}, None),
        (frozen_statistics, {}, None),
        (lambda: dense(keras.layers.Dropout(0.0)), {}, None),
        (dense, {}, None),
    ],
)
def test_a_model_that_is_trained_as_in_inference(
    build: Callable[[], keras.Model], arguments: dict[str, Any], said: str | None
) -> None:
    model = build()

    def step() -> None:
        with tf.GradientTape() as tape:
            loss = mean_square(Y, model(X, **arguments))
        grads = tape.gradient(loss, model.trainable_variables)
        keras.optimizers.SGD(0.1).apply(grads, model.trainable_variables)
        model(X)  # a validation pass

    run = audited(step)
    assert run.verdict == "pass"
    notes = [note for note in run.notes if "training=True" in note]
    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]

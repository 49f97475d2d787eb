# ruff: noqa: ARG001, ARG005 - steps take what they are given
"""`check_step`: what it calls, with what, and what it says. The codes of mistakes are in tests/diagnose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck import check_step
from gradcheck.errors import ConfigError


def gradients(parts: Any, x: Any, y: Any, weight: Any = 1.0, seed: Any = None) -> Any:
    """The loss and the gradients by hand, with a cotangent that `seed` may change."""
    import tensorflow as tf

    front, back = parts
    with tf.GradientTape() as front_tape:
        boundary = front(x, training=True)
    with tf.GradientTape() as back_tape:
        back_tape.watch(boundary)
        loss = tf.reduce_mean(weight * tf.reduce_mean((back(boundary, training=True) - y) ** 2, axis=-1))
    cotangent, *of_back = back_tape.gradient(loss, [boundary, *back.trainable_variables])
    cotangent = cotangent if seed is None else seed(cotangent)
    return loss, [*front_tape.gradient(boundary, front.trainable_variables, cotangent), *of_back]


def weights(parts: Any) -> list[Any]:
    return [v for part in parts for v in part.trainable_variables]


@pytest.mark.parametrize("returned", ["list", "pair", "by path", "by variable"])
def test_a_step_without_an_optimizer_returns_gradients(parts: Any, batch: Any, returned: str) -> None:
    parts[1].optimizer = None

    def step(x: Any, y: Any) -> Any:
        loss, found = gradients(parts, x, y)
        forms = {
            "list": found,
            "pair": (loss, found),
            "by path": {v.path: g for v, g in zip(weights(parts), found, strict=True)},
            "by variable": {v.value.ref(): g for v, g in zip(weights(parts), found, strict=True)},
        }
        return forms[returned]

    report = check_step(step, parts, *batch)
    assert report, report
    assert report.runs[0].checks[0].method == "step"


def test_a_step_that_forgets_the_cotangent_fails(parts: Any, batch: Any) -> None:
    import tensorflow as tf

    parts[1].optimizer = None
    report = check_step(lambda x, y: gradients(parts, x, y, seed=tf.ones_like), parts, *batch)
    assert not report
    assert report.runs[0].checks[0].diagnoses[0].code == "GC101"


def test_it_is_called_once_a_step_with_the_users_own_batch(parts: Any, batch: Any) -> None:
    import tensorflow as tf

    calls = np.zeros(1)
    weight = np.linspace(0.5, 1.5, 6).astype("float32")

    def step(x: Any, y: Any, sample_weight: Any) -> Any:
        calls[0] += 1
        assert x is batch[0]
        assert y is batch[1]
        loss, found = gradients(parts, x, y, sample_weight)
        parts[1].optimizer.apply_gradients(zip(found, weights(parts), strict=True))
        return loss

    report = check_step(step, parts, *batch, sample_weight=weight, steps=3)
    assert report, report
    assert calls[0] == 3
    data = tf.data.Dataset.from_tensor_slices((*batch, weight)).batch(6)

    def on_tensors(x: Any, y: Any, sample_weight: Any) -> Any:
        loss, found = gradients(parts, x, y, sample_weight)
        parts[1].optimizer.apply_gradients(zip(found, weights(parts), strict=True))
        return loss

    assert check_step(on_tensors, parts, data=data)


def test_a_trained_optimizer_goes_on_from_its_slots(keras_: Any, parts: Any, batch: Any) -> None:
    optimizer = keras_.optimizers.Adam(0.05, use_ema=True)

    def step(x: Any, y: Any) -> Any:
        loss, found = gradients(parts, x, y)
        optimizer.apply_gradients(zip(found, weights(parts), strict=True))
        return loss

    for _ in range(3):
        step(*batch)
    optimizer.learning_rate = 0.01
    report = check_step(step, parts, *batch, steps=2)
    assert report, report
    assert {t.status for t in report.runs[0].checks[0].of_kind("optimizer")} <= {"exact", "close"}
    assert int(optimizer.iterations) == 3


def test_a_step_by_hand_without_keras_optimizer_variables(keras_: Any, parts: Any, batch: Any) -> None:
    optimizer = keras_.optimizers.SGD(0.1)

    def step(x: Any, y: Any) -> Any:
        loss, found = gradients(parts, x, y)
        for variable, gradient in zip(weights(parts), found, strict=True):
            variable.assign_sub(0.1 * gradient)
        return loss

    report = check_step(step, parts, *batch, optimizer=optimizer, steps=2)
    assert report, report
    assert "does not use the optimizer" in " ".join(report.runs[0].checks[0].warnings)


def test_one_model(keras_: Any, batch: Any) -> None:
    import tensorflow as tf

    model = keras_.Sequential([keras_.Input((4,)), keras_.layers.Dense(3), keras_.layers.Dense(2)])
    model.compile("adam", "mse")

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=y, y_pred=model(x, training=True))
        found = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(found, model.trainable_variables, strict=True))
        return loss

    report = check_step(step, model, *batch, steps=2)
    assert report, report


def test_what_cannot_be_told(keras_: Any, parts: Any, batch: Any) -> None:
    one, other = keras_.optimizers.SGD(), keras_.optimizers.SGD()
    front = parts[0]
    with pytest.raises(ConfigError, match="several optimizers"):
        check_step(lambda x, y: (one, other), parts, *batch)
    with pytest.raises(ConfigError, match="not known"):
        check_step(lambda x, y: None, front, *batch)
    with pytest.raises(ConfigError, match="counts from 1"):
        check_step(lambda x, y: one, front, *batch, loss="mse", steps=0)
    assert "names no optimizer" in str(check_step(lambda x, y: None, front, batch[0], np.ones((6, 5)), loss="mse"))


def test_what_the_step_raises_is_an_error_of_the_run(parts: Any, batch: Any) -> None:
    def broken(x: Any, y: Any) -> Any:
        raise ValueError("no such thing")

    report = check_step(broken, parts, *batch)
    (run,) = report.runs
    assert run.verdict == "error"
    assert "no such thing" in str(report)

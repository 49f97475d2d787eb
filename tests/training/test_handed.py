"""What is handed to optimizers is recorded: in eager and compiled code, with a loss scale, without repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def variable() -> Any:
    import keras

    return keras.Variable([1.0, 2.0], name="w")


def ways(step: Callable[[Any], None]) -> list[Callable[[Any], None]]:
    import tensorflow as tf

    return [step, tf.function(step), tf.function(step, jit_compile=True)]


@pytest.mark.parametrize("which", range(3), ids=["eager", "graph", "xla"])
def test_each_call_is_recorded_once(variable: Any, which: int) -> None:
    import keras
    import tensorflow as tf

    from gradcheck.training.handed import recording

    optimizer = keras.optimizers.Adam(0.1)
    optimizer.build([variable])
    step = ways(lambda gradient: optimizer.apply_gradients([(gradient, variable)]))[which]
    with recording() as recorder:
        for factor in (1.0, 2.0):
            step(tf.constant([factor, 3.0]))
        found = recorder.taken()
        assert recorder.taken() == []
        step(tf.constant([5.0, 5.0]))
        (later,) = recorder.taken()
    step(tf.constant([7.0, 7.0]))
    assert recorder._calls == []
    assert sum(call.times for call in found) == 2
    assert {id(call.optimizer) for call in found} == {id(optimizer)}
    assert [(v is variable, list(np.asarray(g))) for v, g in found[0].first] == [(True, [1.0, 3.0])]
    total = sum(np.asarray(gradient) for call in found for _, gradient in call.total)
    np.testing.assert_allclose(total, [3.0, 6.0])
    np.testing.assert_allclose(later.first[0][1], [5.0, 5.0])
    assert int(optimizer.iterations) == 4


def test_a_loss_scale_is_undone_and_the_inner_optimizer_is_not_recorded_again(variable: Any) -> None:
    import keras
    import tensorflow as tf

    from gradcheck.training.handed import recording

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=64.0)
    optimizer.build([variable])
    with recording() as recorder:
        optimizer.apply([tf.constant([64.0, 128.0])], [variable])
        (call,) = recorder.taken()
        optimizer.inner_optimizer.apply([tf.constant([64.0, 128.0])], [variable])
        (past,) = recorder.taken()
    np.testing.assert_allclose(call.first[0][1], [1.0, 2.0])
    np.testing.assert_allclose(past.first[0][1], [64.0, 128.0])


def test_optimizers_are_put_back_if_the_step_raises() -> None:
    import keras

    from gradcheck.problem.optimizer import classes_that_apply
    from gradcheck.training.handed import recording

    before = [vars(kind)["apply"] for kind in classes_that_apply()]
    assert vars(keras.optimizers.LossScaleOptimizer)["apply"] in before
    with pytest.raises(ZeroDivisionError), recording():
        _ = 1 / 0
    assert [vars(kind)["apply"] for kind in classes_that_apply()] == before


STEPS = """
    import keras
    import tensorflow as tf

    first, second = keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    scaled = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))

    def gradients(given, x, y, scale=lambda loss: loss):
        with tf.GradientTape() as tape:
            loss = scale(given.loss(y, given.model(x, training=True)) + tf.add_n(given.model.losses))
        return tape.gradient(loss, given.variables)

    def accumulated_by_keras(given):
        for half in (slice(0, 3), slice(3, 6)):
            second.apply(gradients(given, given.x[half], given.y[half]), given.variables)

    def one_left_out(given):
        first.apply(gradients(given, given.x, given.y)[1:], given.variables[1:])

    def halves(given):
        found = [0.5 * g for g in gradients(given, given.x, given.y)]
        first.apply(found, given.variables)
        first.apply(found, given.variables)

    def with_a_scale(given):
        scaled.apply(gradients(given, given.x, given.y, scaled.scale_loss), given.variables)

    def nothing(given):
        pass
"""


@pytest.mark.parametrize(
    ("name", "outcome", "code"),
    [
        ("accumulated_by_keras", "match", None),
        ("with_a_scale", "match", None),
        ("one_left_out", "mismatch", "GC403"),
        ("halves", "mismatch", "GC306"),
        ("nothing", "mismatch", "GC403"),
    ],
)
def test_a_step_without_an_optimizer_in_the_config(run: Any, name: str, outcome: str, code: str | None) -> None:
    import yaml

    from tests.training.trained import MODEL

    methods = [{"candidate": {"train_step": f"./loop.py:{name}"}}]
    config = {**yaml.safe_load(MODEL), "train": {"steps": 2}, "methods": methods}
    (check,) = run(config, {"loop.py": STEPS}).checks
    assert check.outcome == outcome, check.failures
    assert [d.code for d in check.diagnoses][:1] == ([code] if code else []), check.diagnoses
    if name == "one_left_out":
        assert {(row.path, row.status) for row in check.failures} == {("first/kernel", "missing")}
    if name == "halves":
        assert {row.note for row in check.failures} == {"handed to an optimizer 2 times in one step"}

"""A diagnosis is best effort: what it raises never replaces the comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from gradcheck.diagnose import Effort, explaining
from gradcheck.errors import RunError
from gradcheck.faults.injection import Replays

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]


def raising(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(
    "error", [ValueError("no"), RunError("no", code="GC051"), AssertionError("no"), SystemExit("no")]
)
def test_a_step_that_raises_costs_that_step(error: BaseException) -> None:
    effort = Effort()
    assert effort.attempt("this", raising(error)) is None
    assert effort.attempt("that", lambda: 3) == 3
    (warning,) = effort.warnings
    assert warning.startswith("the diagnosis could not be completed: this: ")
    assert warning.endswith("no")


def test_of_one_step_the_first_error_is_kept() -> None:
    effort = Effort()
    for word in ("first", "second"):
        effort.attempt("replays", raising(ValueError(word)))
    assert [("first" in warning, "second" in warning) for warning in effort.warnings] == [(True, False)]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), RunError("timed out", code="GC057")])
def test_what_ends_everything_passes_through(error: BaseException) -> None:
    effort = Effort()
    with pytest.raises(type(error)):
        effort.attempt("this", raising(error))
    assert effort.warnings == ()


def test_memory_that_tensorflow_lacks_is_memory() -> None:
    with pytest.raises(MemoryError):
        Effort().attempt("this", raising(tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")))


#: Two parts, and a loop that forgets the cotangent; what the user wrote raises where nobody but a diagnosis calls it.
FILES = """
    import keras
    import tensorflow as tf

    def ones(check):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            h = front(check.x, training=check.training)
        with tf.GradientTape() as tape_1:
            loss = check.loss(check.y, back(h, training=check.training))
        g1 = tape_1.gradient(loss, back.trainable_variables)
        return [*tape_0.gradient(h, front.trainable_variables), *g1]

    def detached(check):
        front, back = check.segments
        h = front(check.x, training=check.training)
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, back(h, training=check.training))
        return [None] * len(front.trainable_variables) + tape.gradient(loss, back.trainable_variables)

    def step(check):
        check.optimizer.apply([None if g is None else 1.7 * g for g in detached(check)], check.variables)

    def single():
        weights = tf.constant([1.0, 3.0])
        return lambda y, out: tf.reduce_mean(weights * tf.square(out - tf.cast(y, out.dtype)))

    @tf.custom_gradient
    def picky(x):
        def grad(dy):
            tf.debugging.assert_less(tf.reduce_max(tf.abs(dy)), 0.9, message="this is no cotangent of mine")
            return dy * (1.0 - tf.tanh(x) ** 2)

        return tf.tanh(x), grad

    class Picky(keras.layers.Layer):
        def call(self, x):
            return picky(x)

    class Spectrum(keras.layers.Layer):
        def call(self, x):
            return tf.signal.fft(tf.complex(x, tf.zeros_like(x)))

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, dtype="complex64")

    class Power(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(autocast=False, **kwargs)

        def call(self, x):
            return tf.math.real(x) ** 2 + tf.math.imag(x)

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, dtype="float32")

    @tf.custom_gradient
    def wrong(x):
        return tf.identity(x), lambda dy: 0.5 * dy

    class Half(keras.layers.Layer):
        def call(self, x):
            return wrong(x)

    def halved():
        x = keras.Input([4], name="x")
        h = Half(name="half")(keras.layers.Dense(4, name="a")(x))
        return keras.Model(x, keras.layers.Dense(2, name="b")(h))

    def half(check):
        with tf.GradientTape() as tape:
            outputs = check.model(check.x, training=check.training)
            loss = check.loss(check.y, wrong(outputs))
        return tape.gradient(loss, check.variables)

    def spectral():
        x = keras.Input([4], name="x")
        h = Spectrum(name="spectrum")(keras.layers.Dense(4, activation="tanh", name="a")(x))
        h = Power(name="power", dtype="complex64")(h)
        return keras.Model(x, keras.layers.Dense(2, name="b")(h))

    def guarded():
        x = keras.Input([4], name="x")
        h = keras.layers.Dense(4, name="front")(x)
        return keras.Model(x, keras.layers.Dense(2, name="b")(Picky(name="a")(h)))
"""
PLAIN = {"input": {"shape": [5]}, "layers": [{"Dense": {"units": 6, "activation": "tanh", "name": "a"}}, {"Dense": 2}]}


def checked(run: Run, function: str = "ones", **config: Any) -> CheckReport:
    kind = "train_step" if "train" in config else "factory"
    given = {"model": PLAIN, "split": {"after": ["a"]}, "loss": "MeanSquaredError", "data": {"batch_size": 4}}
    given["verify_reference"] = "never"  # a gradient that is wrong in the model itself is not what is diagnosed here
    method = {"candidate": {kind: f"./m.py:{function}", "name": function}}
    report = run({**given, "methods": [method], **config}, {"m.py": FILES})
    assert (report.verdict, report.exit_code) == ("fail", 1), report.error
    (check,) = report.checks
    assert check.outcome == "mismatch"
    return check


def test_a_loss_in_float32_alone(run: Run) -> None:
    check = checked(run, loss={"factory": "./m.py:single"})
    (found,) = check.diagnoses
    assert (found.code, found.place, found.confidence) == ("GC101", "boundary 0 → 1", "exact")
    assert check.second_opinion is not None
    assert check.second_opinion.startswith("no second opinion: the model or its loss cannot be run in float64 (")
    assert check.warnings == ()


def test_a_custom_gradient_that_refuses_what_a_replay_hands_it(run: Run) -> None:
    check = checked(run, "detached", model={"factory": "./m.py:guarded"})
    assert [d.code for d in check.diagnoses] == ["GC102", "GC403"]
    (warning,) = check.warnings
    assert "the diagnosis could not be completed: replays of mistakes: " in warning
    assert "this is no cotangent of mine" in warning


def test_a_complex_boundary(run: Run) -> None:
    check = checked(run, model={"factory": "./m.py:spectral"}, split={"after": ["spectrum"]})
    assert [(d.code, d.confidence) for d in check.diagnoses] == [("GC101", "exact")]
    assert check.warnings == ()


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("the data are used up")


def test_where_nothing_can_be_replayed_the_comparison_stands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replays, "right", property(broken))
    check = checked(run, "detached")
    assert {t.path for t in check.failures if t.kind == "weight"} == {"a/kernel", "a/bias"}
    assert {d.confidence for d in check.diagnoses} <= {"likely", "possible"}  # no correct split confirms them
    assert (
        "the diagnosis could not be completed: the correct split: RuntimeError: the data are used up" in check.warnings
    )


@pytest.mark.parametrize(
    "step", ["custom_gradients_of", "second_opinion", "diagnose_derivatives", "diagnose_gradients"]
)
def test_each_step_may_fail_alone(run: Run, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(explaining, step, broken)
    method = "numeric" if step == "diagnose_derivatives" else {"candidate": {"factory": "./m.py:half"}}
    check = checked(run, model={"factory": "./m.py:halved"}, methods=[method])
    assert any("the data are used up" in warning for warning in check.warnings)
    assert check.failures


def test_training(run: Run) -> None:
    train = {"steps": 2, "optimizer": {"SGD": {"learning_rate": 0.1}}}
    check = checked(run, "step", model={"factory": "./m.py:guarded"}, train=train)
    assert [d.code for d in check.diagnoses] == ["GC900"]
    assert any("this is no cotangent of mine" in warning for warning in check.warnings)

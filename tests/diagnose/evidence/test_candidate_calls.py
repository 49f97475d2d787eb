"""Candidates whose calls of tapes say what is wrong: None as a cotangent, variables of another model."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

TRAIN = dedent("""
    import keras
    import tensorflow as tf


    def gradients(check, model, variables, rows=slice(None), share=1.0):
        with tf.GradientTape() as tape:
            loss = share * check.loss(check.y[rows], model(check.x[rows], training=check.training))
        return tape.gradient(loss, variables)  # the model's


    def another(check, by=0.9):
        other = keras.models.clone_model(check.model)
        for theirs, ours in zip(other.trainable_variables, check.variables):
            theirs.assign(by * ours)
        return other


    def right(check):
        return gradients(check, check.model, check.variables)


    def by_position(check):
        other = another(check)
        return gradients(check, other, other.trainable_variables)


    def summed(check):
        other = another(check)
        parts = [gradients(check, other, other.trainable_variables, rows, 0.5) for rows in (slice(4), slice(4, 8))]
        return [a + b for a, b in zip(*parts)]


    def compiled(check):
        other = another(check)
        return tf.function(lambda: gradients(check, other, other.trainable_variables))()


    def one_part(check):
        front, back = check.segments
        mine = keras.layers.Dense(4, "tanh", kernel_initializer="ones", name="mine")
        other = keras.Sequential([keras.Input([5]), mine])
        model = lambda x, training: back(other(x, training=training), training=training)
        return gradients(check, model, [*other.trainable_variables, *back.trainable_variables])


    def of_equal_values(check):
        other = another(check, by=1.0)
        return gradients(check, other, other.trainable_variables)


    def of_equal_values_ascent(check):
        return [-g for g in of_equal_values(check)]


    def auxiliary_ascent(check):
        own = tf.Variable(tf.ones([5, 4]))
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training)) + tf.reduce_sum(own**2)
            tape.watch(check.x)
        return [-g for g in tape.gradient(loss, [*check.variables, own, check.x])[:4]]


    def as_arguments_ascent(check):
        @tf.function
        def step(variables):
            with tf.GradientTape() as tape:
                loss = check.loss(check.y, check.model(check.x, training=check.training))
            return tape.gradient(loss, variables)

        return [-g for g in step([v.value for v in check.variables])]


    def by_variable(check):
        other = another(check)
        return dict(zip(map(id, other.trainable_variables), gradients(check, other, other.trainable_variables)))


    def with_variables(check):
        other = another(check)
        return list(zip(gradients(check, other, other.trainable_variables), other.trainable_variables))


    def none_goes_in(check, copy=False):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            h = front(check.x, training=check.training)
        with tf.GradientTape() as tape_1:
            received = tf.identity(h) if copy else h
            loss = check.loss(check.y, back(received, training=check.training))
        cotangent, *of_back = tape_1.gradient(loss, [received, *back.trainable_variables])  # never watched
        of_front = tape_0.gradient(h, front.trainable_variables, output_gradients=cotangent)  # none went in
        return [*of_front, *of_back]


    def none_in_a_graph(check):
        return tf.function(lambda: none_goes_in(check))()


    def none_of_a_copy(check):
        return none_goes_in(check, copy=True)


    def none_by_hand(check):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            h = front(check.x, training=check.training)
        with tf.GradientTape() as tape_1:
            loss = check.loss(check.y, back(h, training=check.training))
        of_back = tape_1.gradient(loss, back.trainable_variables)
        return [*tape_0.gradient(h, front.trainable_variables, None), *of_back]  # by hand
""")


def line(comment: str) -> str:
    (number,) = (i for i, text in enumerate(TRAIN.splitlines(), 1) if text.endswith(f"# {comment}"))
    return f"train.py:{number}"


def checked(run: Run, *names: str, **config: Any) -> list[CheckReport]:
    layers = [{"Dense": {"units": 4, "activation": "tanh", "name": "a"}}, {"Dense": {"units": 2, "name": "b"}}]
    given = {
        "model": {"input": {"shape": [5]}, "layers": layers},
        "split": {"after": ["a"]},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 8},
        "methods": [{"candidate": {"factory": f"./train.py:{name}", "name": name}} for name in names],
    }
    return list(run({**given, **config}, {"train.py": TRAIN}).checks)


def test_variables_of_another_model_are_named(run: Run) -> None:
    checks = checked(run, "by_position", "summed", "compiled")
    for check in checks:
        (found,) = check.diagnoses
        assert (found.code, found.confidence, found.layer) == ("GC407", "exact", "b")
        assert "the gradients of a/kernel, a/bias, b/kernel, and 1 more are those of a/kernel" in found.evidence
        assert f"taken at {line('the model' + chr(39) + 's')}" in found.evidence
        assert "variables of another model" in found.evidence


def test_those_of_one_part_are_told_from_the_models_own(run: Run) -> None:
    (check,) = checked(run, "one_part")
    (found,) = check.diagnoses
    assert (found.code, found.confidence, found.segment, found.layer) == ("GC407", "exact", 0, "a")
    assert (
        "the gradients of a/kernel, a/bias are those of sequential/mine/kernel, sequential/mine/bias" in found.evidence
    )


@pytest.mark.parametrize("steps", [2])
def test_in_training_too(run: Run, steps: int) -> None:
    train = {"steps": steps, "optimizer": {"SGD": {"learning_rate": 0.1}}}
    right, wrong = checked(run, "right", "by_position", train=train)
    assert (right.outcome, right.diagnoses) == ("match", ())
    assert [(d.code, d.confidence) for d in wrong.diagnoses] == [("GC407", "exact")]


def test_a_copy_with_the_models_values_is_right_and_explains_nothing(run: Run) -> None:
    same, ascent = checked(run, "of_equal_values", "of_equal_values_ascent")
    assert same.outcome == "match"
    assert [(d.code, d.confidence) for d in ascent.diagnoses] == [("GC504", "exact")]


def test_variables_beside_the_models_are_no_mistake(run: Run) -> None:
    for check in checked(run, "auxiliary_ascent", "as_arguments_ascent"):
        assert [(d.code, d.confidence) for d in check.diagnoses] == [("GC504", "exact")], check.method


@pytest.mark.parametrize("name", ["by_variable", "with_variables"])
def test_keys_of_another_model_are_an_error_that_says_so(run: Run, name: str) -> None:
    (check,) = checked(run, name)
    assert check.error is not None
    assert check.error.code == "GC055"
    assert "gradients of variables of another model: a/kernel, a/bias, b/kernel, and 1 more" in check.error.message
    assert "(GC407)" in str(check.error.help)


@pytest.mark.parametrize("name", ["none_goes_in", "none_in_a_graph", "none_of_a_copy"])
def test_a_boundary_that_was_never_watched(run: Run, name: str) -> None:
    (check,) = checked(run, name)
    (found,) = check.diagnoses
    assert (found.code, found.confidence, found.segment) == ("GC101", "exact", 0)
    assert f"None went in as output_gradients at {line('none went in')}, which TensorFlow" in found.evidence
    why = f"the boundary was never watched, its gradient, asked for at {line('never watched')}, was None"
    assert found.evidence.endswith(why)


def test_none_that_came_from_no_tape(run: Run) -> None:
    (check,) = checked(run, "none_by_hand")
    (found,) = check.diagnoses
    assert found.code == "GC101"
    assert found.evidence.endswith(
        f"None went in as output_gradients at {line('by hand')}, which TensorFlow takes for ones"
    )

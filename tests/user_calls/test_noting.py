"""What is noted of a function that runs: its calls of tapes and what XLA compiles, without any effect on it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.user_calls import noting as noting_module
from gradcheck.user_calls.noting import Noted, note, noting

if TYPE_CHECKING:
    from gradcheck.user_calls.noting import UserCalls

HERE = Path(__file__).name


def squared(x: Any) -> tuple[tf.GradientTape, Any]:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = x * x
    return tape, y


def numbers(found: Any) -> list[int | None]:
    return [None if one is None else one.number for one in found]


def test_a_call_has_what_was_asked_and_what_came_back() -> None:
    x, unseen = tf.constant([1.0, 2.0]), tf.constant(3.0)
    with noting({}) as calls:
        tape, y = squared(x)
        found = tape.gradient(y, {"b": unseen, "a": x}, output_gradients=tf.ones(2))
    (call,) = calls.gradients
    assert (call.kind, call.line.file.endswith(HERE)) == ("gradient", True)
    assert numbers(call.targets) == [note(y).number]
    assert call.sources == [Noted(note(x).number, (2,)), Noted(note(unseen).number, ())]
    assert numbers(call.results) == [note(found["a"]).number, None]
    np.testing.assert_array_equal(found["a"], [2.0, 4.0])


@pytest.mark.parametrize(
    ("given", "seeds"),
    [({}, None), ({"output_gradients": None}, [None])],
)
def test_none_that_is_given_is_told_from_nothing_given(given: dict[str, Any], seeds: Any) -> None:
    with noting({}) as calls:
        tape, y = squared(x := tf.constant(1.0))
        tape.gradient(y, x, **given)
        tape.gradient(y, x, *given.values())
    assert [call.seeds for call in calls.gradients] == [seeds, seeds]


def test_variables_keep_their_number_and_are_there() -> None:
    plain, of_keras = tf.Variable([1.0]), keras.Variable([2.0])
    with noting({}) as calls:
        with tf.GradientTape() as tape:
            y = plain * of_keras
        tape.gradient(y, [plain, of_keras, of_keras.value])
    (call,) = calls.gradients
    assert [one.variable for one in call.sources if one] == [plain, of_keras, of_keras.value]
    assert numbers(call.sources)[1] == numbers(call.sources)[2] == note(of_keras).number
    assert [id(one) for one in calls.sources] == [id(plain), id(of_keras), id(of_keras.value)]


def test_sparse_rows_and_other_structures() -> None:
    table = tf.Variable(tf.ones([3, 2]))
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    with noting({}) as calls:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(ragged)
            rows, flat = tf.gather(table, [0, 0]), tf.reduce_sum(ragged * 2.0)
        sparse = tape.gradient(rows, table)
        tape.gradient(flat, ragged)
    assert isinstance(sparse, tf.IndexedSlices)
    assert numbers(calls.gradients[0].results) == [note(sparse.values).number]
    assert numbers(calls.gradients[1].sources) == [0]


@pytest.mark.parametrize("kind", ["jacobian", "batch_jacobian"])
def test_a_jacobian_is_one_call(kind: str) -> None:
    with noting({}) as calls:
        tape, y = squared(x := tf.ones([2, 3]))
        found = getattr(tape, kind)(y, x)
    assert [(call.kind, numbers(call.results)) for call in calls.gradients] == [(kind, [note(found).number])]


def test_tapes_that_a_backward_pass_asks_are_none_of_the_users() -> None:
    with noting({}) as calls:
        with tf.GradientTape() as tape:
            tape.watch(x := tf.ones(2))
            y = tf.recompute_grad(tf.sin)(x)
        tape.gradient(y, x)
    assert len(calls.gradients) == 1


def test_inside_a_function_that_is_traced() -> None:
    @tf.function
    def step(x: Any) -> Any:
        if tf.reduce_sum(x) > 0:
            tape, y = squared(x)
            return tape.gradient(y, x)
        return x

    with noting({}) as calls:
        np.testing.assert_array_equal(step(tf.constant([3.0])), [6.0])
    assert [call.line.file.endswith(HERE) for call in calls.gradients] == [True]


def test_in_another_thread() -> None:
    def work() -> None:
        tape, y = squared(x := tf.constant(1.0))
        tape.gradient(y, x)

    with noting({}) as calls:
        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(calls.gradients) == 3


def test_outside_everything_is_as_it_was() -> None:
    before = [vars(tf.GradientTape)[kind] for kind in ("gradient", "jacobian", "batch_jacobian")]
    with pytest.raises(LookupError), noting({}):
        raise LookupError
    assert [vars(tf.GradientTape)[kind] for kind in ("gradient", "jacobian", "batch_jacobian")] == before


def test_an_error_is_the_one_that_tensorflow_raises() -> None:
    def twice() -> None:
        with tf.GradientTape() as tape:
            y = tf.Variable(1.0) * 2.0
        tape.gradient(y, y)
        tape.gradient(y, y)

    with noting({}) as calls, pytest.raises(RuntimeError, match="non-persistent"):
        twice()
    assert len(calls.gradients) == 1


def test_thousands_of_calls_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noting_module, "MOST_CALLS", 2)
    with noting({}) as calls:
        tape, y = squared(x := tf.constant(1.0))
        found = [float(tape.gradient(y, x)) for _ in range(4)]
    assert (found, len(calls.gradients)) == ([2.0] * 4, 2)


def compiled(calls: UserCalls) -> list[str]:
    return [place.partition(" (")[0] for place in calls.by_xla]


def test_what_xla_compiles() -> None:
    @tf.function(jit_compile=True)
    def inner(x: Any) -> Any:
        return x + 1.0

    @tf.function
    def outer(x: Any) -> Any:
        return inner(x)

    class Holder:
        @tf.function(jit_compile=True)
        def method(self, x: Any) -> Any:
            return 2.0 * x

    with noting({}) as calls:
        assert float(outer(tf.constant(1.0))) == 2.0
        assert float(inner(tf.constant(1.0))) == 2.0
        assert float(Holder().method(tf.constant(1.0))) == 2.0
    assert compiled(calls) == ["inner", "inner", "method"]
    assert all(HERE in place for place in calls.by_xla)


def test_what_runs_eagerly_is_not_compiled() -> None:
    tf.config.run_functions_eagerly(True)  # noqa: FBT003 - TensorFlow's signature
    try:
        with noting({}) as calls:
            tf.function(lambda x: x, jit_compile=True)(tf.constant(1.0))
    finally:
        tf.config.run_functions_eagerly(False)  # noqa: FBT003 - as above
    assert calls.by_xla == []

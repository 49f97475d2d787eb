from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from gradcheck.errors import RunError
from gradcheck.session import deadline as module
from gradcheck.session.deadline import TimeIsUp, deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.results.report import RunReport


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.1)


def seconds(body: Callable[[], object], limit: float = 0.2) -> float:
    """How long `body` goes on under a limit that it does not keep."""
    start = time.perf_counter()
    with pytest.raises(RunError, match=f"timed out after {limit:g} seconds") as caught, deadline(limit):
        body()
    assert caught.value.code == "GC057"
    return time.perf_counter() - start


def sleeps() -> None:
    time.sleep(5)


def catches_exceptions() -> None:
    for _ in range(100):
        try:
            time.sleep(0.1)
        except Exception:
            pass


def catches_everything_for_ever() -> None:
    while True:
        try:
            time.sleep(0.01)
        except:
            pass


def tries_again_for_ever() -> None:
    while True:
        try:
            return catches_everything_for_ever()
        except BaseException:
            continue


def handles_slowly() -> None:
    while True:
        try:
            time.sleep(5)
        except:
            time.sleep(0.3)


def raises_another() -> None:
    try:
        time.sleep(5)
    except BaseException as error:
        raise ValueError("mine") from error


def catches_it_once() -> None:
    try:
        time.sleep(5)
    except BaseException:
        pass


@pytest.mark.parametrize(
    "body",
    [
        sleeps,
        catches_exceptions,
        catches_everything_for_ever,
        tries_again_for_ever,
        handles_slowly,
        raises_another,
        catches_it_once,
    ],
)
def test_what_takes_longer_is_ended_whatever_it_catches(body: Callable[[], None]) -> None:
    before = sys.gettrace(), sys.getprofile(), signal.getsignal(signal.SIGALRM)
    assert seconds(body) < 2
    assert (sys.gettrace(), sys.getprofile(), signal.getsignal(signal.SIGALRM)) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize("body", [sleeps, catches_everything_for_ever])
def test_what_is_to_be_put_back_is_put_back_however_long_that_takes(body: Callable[[], None]) -> None:
    done = []

    @contextmanager
    def changed() -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.3)
            done.append("context")

    def run() -> None:
        with changed():
            try:
                body()
            finally:
                time.sleep(0.3)
                done.append("finally")

    seconds(run)
    assert done == ["finally", "context"]


def test_it_is_told_where_the_time_was_over() -> None:
    with pytest.raises(RunError) as caught, deadline(0.1):
        sleeps()
    assert isinstance(caught.value.__cause__, TimeIsUp)


def test_in_time_nothing_is_raised_and_errors_stay_what_they_are() -> None:
    with deadline(5):
        pass
    with pytest.raises(KeyError, match="mine"), deadline(5):
        raise KeyError("mine")
    with deadline(None):
        pass
    time.sleep(0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_an_interrupt_stays_one() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), deadline(5):
            os.kill(os.getpid(), signal.SIGINT)
            sleeps()
    finally:
        signal.signal(signal.SIGINT, before)


LAYERS = """
    import time
    import keras
    import tensorflow as tf

    class Slow(keras.layers.Layer):
        how = ""

        def call(self, x):
            {body}
            return 2.0 * x

    def build():
        x = keras.Input((3,))
        return keras.Model(x, Slow(name="slow")(keras.layers.Dense(2, name="first")(x)))
"""
CATCHING = """
            if tf.executing_eagerly():
                for _ in range(600):
                    try:
                        time.sleep(0.1)
                    except Exception:
                        pass
"""
IN_DOUBLE = """
            if tf.executing_eagerly() and x.dtype == tf.float64:
                time.sleep(60)
"""
CALLED_BACK = """
            def slow(value):
                time.sleep(60)
                return value
            x = tf.ensure_shape(tf.py_function(slow, [x], x.dtype), x.shape) if tf.executing_eagerly() else x
"""


@pytest.mark.parametrize("body", [CATCHING, IN_DOUBLE, CALLED_BACK], ids=["catching", "in float64", "called back"])
def test_a_config_that_takes_too_long_is_one_error(tmp_path_factory: pytest.TempPathFactory, body: str) -> None:
    from textwrap import dedent

    from gradcheck.config import load_config
    from gradcheck.session.configs import CheckOptions, check_one

    folder = tmp_path_factory.mktemp("slow")
    (folder / "slow.py").write_text(dedent(LAYERS.replace("            {body}\n", body.lstrip("\n"))))
    path = folder / "slow.yaml"
    path.write_text("model: {factory: './slow.py:build'}\nsplit: {after: [first]}\nmethods: [vjp, numeric, forward]\n")
    start = time.perf_counter()
    report: RunReport = check_one(load_config(path), CheckOptions(timeout=2))
    assert time.perf_counter() - start < 8
    assert (report.verdict, report.exit_code) == ("error", 3)
    assert [error.code for error in report.errors] == ["GC057"], report.errors

"""A limit on how long one config may take."""

from __future__ import annotations

import inspect
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

#: Seconds until the time is called again, to code that caught the first call and went on.
AGAIN = 0.5
#: How many calls wait for what is being cleaned up.
CLEANING_UP = 20
_OURS = str(Path(__file__).parents[1])


class TimeIsUp(BaseException):
    """Raised in whatever runs when the time is over. No Exception, so that code which goes on after those ends too."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raises RunError GC057 if the body takes longer than `seconds`; None is no limit.

    The body is left by `TimeIsUp`, raised again and again should code of the user's catch it. Works in the main thread
    of systems with `SIGALRM`, between two operations of TensorFlow; elsewhere nothing ends.
    """
    usable = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return
    alarm, cause = _Alarm(), None
    try:
        with alarm.set(seconds):
            yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if not alarm.calls:
            raise
        cause = error  # TimeIsUp, or what became of it in a callback or a handler that raises something else
    if alarm.calls:
        message, advice = (
            f"timed out after {seconds:g} seconds",
            "give more with --timeout, or a smaller model or batch",
        )
        raise RunError(message, code="GC057", help=advice) from cause


class _Alarm:
    """Raises `TimeIsUp` from a signal handler until it is off, but not into what cleans up after an earlier one."""

    def __init__(self) -> None:
        self.calls = 0
        self._on = False
        self._traced: list[FrameType] = []
        self._entered: FrameType | None = None

    @contextmanager
    def set(self, seconds: float) -> Iterator[None]:
        """Calls the time after `seconds`, and every `AGAIN` seconds from then on."""
        tracer, profiler, handler = sys.gettrace(), sys.getprofile(), signal.signal(signal.SIGALRM, self._ring)
        self._on, self._entered = True, inspect.currentframe()
        signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
        try:
            yield
        finally:
            self._on = False  # a signal that is on its way finds nobody
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            self._entered = None
            if self._traced:
                sys.setprofile(profiler)
                sys.settrace(tracer)
                for frame in self._traced:
                    frame.f_trace = None

    def _ring(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's arguments
        if not self._on:
            return
        self.calls += 1
        if self._wanted():
            if self.calls > 1:
                self._trace(frame)
            raise TimeIsUp

    def _wanted(self) -> bool:
        return self._on and (self.calls > CLEANING_UP or not _being_handled())

    def _trace(self, inner: FrameType | None) -> None:
        """Raises at the next line too, which is outside of `try` for a loop around `try: ... except: pass`."""
        outside = set(_and_callers(self._entered))
        for frame in _and_callers(inner):
            if frame not in outside and not frame.f_code.co_filename.startswith(_OURS):
                frame.f_trace = self._at_line
                self._traced.append(frame)
        sys.settrace(_leave_alone)
        sys.setprofile(_trace_on)

    def _at_line(self, frame: FrameType, event: str, arg: Any) -> Any:  # noqa: ARG002 - a trace function's arguments
        """Raises, but not where an exception has just come through: the next line is that of its handler."""
        if event == "exception":
            return self._at_handler
        if event == "line" and self._wanted():
            raise TimeIsUp
        return self._at_line

    def _at_handler(self, *_: Any) -> Any:
        return self._at_line


def _and_callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _leave_alone(*_: Any) -> None:
    """What `sys.settrace` does to functions that are called from now on."""


def _trace_on(*_: Any) -> None:
    """Sets the tracing up again, which Python ends when a trace function raises: the caller may catch that as well."""
    sys.settrace(_leave_alone)


def _being_handled() -> bool:
    """Whether the caller runs in an `except`, a `finally` or a `with` that `TimeIsUp` is passing through."""
    error: BaseException | None = sys.exc_info()[1]
    while error is not None and not isinstance(error, TimeIsUp):
        error = error.__context__
    return error is not None

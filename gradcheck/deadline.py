"""A limit on how long one config may take."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Raises RunError GC057 in the body once `seconds` have passed; None is no limit.

    Works in the main thread of systems with `SIGALRM`, between two operations of TensorFlow; elsewhere nothing ends.
    """
    usable = hasattr(signal, "SIGALRM") and threading.current_thread() is threading.main_thread()
    if seconds is None or not usable:
        yield
        return

    def expire(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        raise RunError(
            f"timed out after {seconds:g} seconds",
            code="GC057",
            help="give more with --timeout, or a smaller model or batch",
        )

    previous = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)

"""Ending a script where enough has been seen: through its own `finally` blocks, and whatever its threads wait for."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, NoReturn

from gradcheck.workers.output import flush_c

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import FrameType

#: Seconds that a stopped script has for its `finally` blocks, and those that its threads have after it.
CLEANING_UP = 10.0
LINGERING = 2.0
#: A signal that hardly any script uses: SIGUSR1 and SIGUSR2 are those of schedulers and of faulthandler.
SIGNAL = signal.SIGRTMIN + 7 if hasattr(signal, "SIGRTMIN") else getattr(signal, "SIGUSR2", 0)  # 0: there is none


class Stopped(SystemExit):
    """Raised in a script where it is to end.

    A SystemExit passes `except Exception`, and event loops and frameworks let it through.
    """


class Stopper:
    """Ends a script that runs in the thread which makes this object, on request from any thread."""

    def __init__(self, late: Callable[[], NoReturn]) -> None:
        """Call `late` in another thread if the script still runs `CLEANING_UP` seconds after the first request."""
        self.requested = False
        self._thread = threading.current_thread()
        self._process = os.getpid()
        self._open = True  # the script still runs
        self._can_interrupt = self._thread is threading.main_thread() and SIGNAL > 0
        self._asked: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self._sending = threading.Lock()
        self._last_word = threading.Lock()  # held by the one of both, the script's thread or `late`, that reports
        self._late = late

    def end(self) -> None:
        """End the script.

        In its own thread, raise `Stopped`. In another one interrupt that thread, whatever it waits for, and return; a
        second call in the same thread raises, so that this one ends too. A thread that handles a `Stopped`, in a
        `finally` block, is left to finish. In processes forked from this one nothing happens.

        Raises:
            Stopped: in the script's thread.
            SystemExit: in another one.
        """
        if os.getpid() != self._process:
            return
        with self._sending:
            if not self.requested:
                self.requested = True
                self._watch_over()
        here = threading.current_thread()
        if here is self._thread:
            self._strike()
        elif not self._interrupted() or here in self._asked:
            raise SystemExit  # itself, of which threading prints nothing
        else:
            self._asked.add(here)

    def run(self, script: Callable[[], None]) -> BaseException | None:
        """Call `script` and return what it raised; None if it returned, or raised anything after a request to end.

        Raises:
            KeyboardInterrupt: if that is what it raised.
        """
        error: BaseException | None = None
        with self._interruptible(), suppress(Stopped):
            try:
                script()
            except BaseException as raised:  # noqa: BLE001 - a script may raise whatever there is
                self._open = False
                error = raised
            self._open = False
        self._open = False
        self._last_word.acquire()  # if `late` has it, it ends the process
        if isinstance(error, KeyboardInterrupt):
            raise error
        return None if self.requested else error

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Handle the signal inside, and put the handler back."""
        if not self._can_interrupt:
            yield
            return
        before = signal.signal(SIGNAL, lambda *_: self._strike())
        try:
            yield
        finally:
            self._open = False
            with self._sending:
                signal.signal(SIGNAL, signal.SIG_IGN)  # discards one that is still on its way
                signal.signal(SIGNAL, before)

    def _interrupted(self) -> bool:
        """Interrupt the script's thread; return whether that is possible."""
        with self._sending:
            if not (self._open and self._can_interrupt) or self._thread.ident is None:
                return False
            signal.pthread_kill(self._thread.ident, SIGNAL)
            return True

    def _strike(self) -> None:
        """Raise `Stopped` in the script's thread, unless it is handling one or has ended."""
        if self._open and not _handling_stop():
            raise Stopped

    def _watch_over(self) -> None:
        timer = threading.Timer(CLEANING_UP, self._give_up)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        if self._last_word.acquire(blocking=False):
            self._late()

    @property
    def frame(self) -> FrameType | None:
        """What the script's thread is doing."""
        return sys._current_frames().get(self._thread.ident or 0)  # noqa: SLF001 - documented, for debuggers


def _handling_stop() -> bool:
    """Whether this thread is in a `finally` or `except` block of a `Stopped`, or in an `__exit__` because of one."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, Stopped):
        error = error.__context__
    return error is not None


def wait_as_python_does(before: Collection[threading.Thread]) -> None:
    """Wait for the threads that Python waits for at the end of a script, without those that wait for work.

    Args:
        before: threads that are not the script's.
    """
    while threads := [thread for thread in _lingering(before) if thread not in _pooled()]:
        for thread in threads:
            thread.join()


def settled(before: Collection[threading.Thread]) -> bool:
    """Wait a short while for the threads and processes of a script that was ended; return whether no thread is left.

    Processes that are left are terminated.
    """
    until = time.monotonic() + LINGERING
    children = multiprocessing.active_children()
    joins = [one.join for one in _lingering(before)] + [one.join for one in children]
    for join in joins:
        join(max(0.0, until - time.monotonic()))
    for child in children:
        child.terminate()
    return not _lingering(before)


def _lingering(before: Collection[threading.Thread]) -> list[threading.Thread]:
    """Return the threads of the script that would keep Python from ending."""
    here = threading.current_thread()
    return [t for t in threading.enumerate() if not t.daemon and t is not here and t not in before]


def _pooled() -> Collection[threading.Thread]:
    """Return the threads of executors, which wait for work until Python tells them that it ends."""
    pools = sys.modules.get("concurrent.futures.thread")
    return getattr(pools, "_threads_queues", MappingProxyType({}))


@contextmanager
def ended_after(seconds: float, code: int) -> Iterator[None]:
    """End the process with `code` if what happens inside takes longer."""
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def leave(code: int) -> NoReturn:
    """End the process with `code` whatever still runs in it: the handlers of `atexit` are called, streams flushed."""
    with ended_after(CLEANING_UP, code):
        atexit._run_exitfuncs()  # noqa: SLF001 - without the rest of Python's end, which waits for threads
        for stream in filter(None, (sys.stdout, sys.stderr, sys.__stdout__)):
            with suppress(OSError, ValueError):
                stream.flush()
        flush_c()
        os._exit(code)

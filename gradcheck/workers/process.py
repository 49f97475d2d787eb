"""The worker's side: one task after the other until the parent has none left, or is gone."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import gc
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck.workers.failures import understood
from gradcheck.workers.output import flush_c, quiet_tensorflow
from gradcheck.workers.task import named

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


class Ended(BaseException):
    """Raised where the parent wants this process to end. No Exception: code that catches those is left too."""


def main(
    connection: int,
    traces: int,
    *,
    parent: int,
    verbose: bool,
    tensorflow: bool,
    begin: tuple[str, str] | None = None,
) -> None:
    """Run tasks until the connection ends.

    Args:
        connection: descriptor that carries tasks here, and stages and results back.
        traces: descriptor of the file that stacks are written to if this process dies.
        parent: number of the process whose end is the end of this one.
        verbose: whether to show TensorFlow's chatter, and the traceback of what a task raises.
        tensorflow: whether to import it before there is a task.
        begin: a function to call then, `module:name`, and its argument.
    """
    _end_with(parent)
    faulthandler.enable(traces)
    faulthandler.register(signal.SIGUSR1, traces)
    _note_exits(traces)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _leave_to_the_parent)
    sys.stdout = sys.stderr  # which is where standard output goes: now without a buffer
    with suppress(Ended, EOFError, BrokenPipeError):
        with suppress(Exception):  # the task meets it again, and says so
            if tensorflow:
                quiet_tensorflow(verbose=verbose)
            if begin:
                named(begin[0])(begin[1])
        _work(Connection(connection), verbose=verbose)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    atexit._run_exitfuncs()  # noqa: SLF001 - without the rest of Python's end, which waits for threads
    sys.stderr.flush()
    flush_c()
    _exit(0)


def _work(connection: Connection, *, verbose: bool) -> NoReturn:
    while True:
        connection.send(("ready", None))
        try:
            task = connection.recv()
            result = task.perform(lambda stage: connection.send(("stage", stage)))
            if task.servers:  # what it holds there is freed by deleting it here, and the process may end any moment
                gc.collect()
            connection.send(("result", result))  # pickled before a byte of it is sent
        except (Ended, EOFError, BrokenPipeError):
            raise
        except BaseException as error:  # noqa: BLE001 - the task's result, KeyboardInterrupt of the user's own too
            if verbose:
                traceback.print_exception(error)
            connection.send(("result", understood(error)))


def _end(*_: Any) -> None:
    raise Ended


def _leave_to_the_parent(*_: Any) -> None:
    """Do nothing: Ctrl-C reaches both where they share a terminal, and the parent ends this process."""


_exit: Callable[[int], NoReturn] = os._exit


def _note_exits(traces: int) -> None:
    """Have `os._exit` write where it was called, for nothing else would. Processes forked from here are left alone."""
    process = os.getpid()

    def noted(status: int) -> NoReturn:
        if os.getpid() == process:
            faulthandler.dump_traceback(traces, all_threads=False)
        _exit(status)

    os._exit = noted


def _end_with(parent: int) -> None:
    """End this process when `parent` ends, however that happens: by the kernel where it can, else by a thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it was faster
        _exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    _exit(1)

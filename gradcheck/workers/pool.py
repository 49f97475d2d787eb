"""The parent's side: worker processes, watched from their start to their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from contextlib import closing, suppress
from functools import partial
from multiprocessing.connection import Pipe, wait
from typing import TYPE_CHECKING, Any

from gradcheck.placement.health import ServerWatch
from gradcheck.workers.failures import died, timed_out
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gradcheck.errors import GradcheckError
    from gradcheck.workers.task import Task

#: Seconds between two looks at processes that send nothing.
TICK = 0.1
#: Seconds that a process has to run its `finally` blocks, at most, and as a share of the time that its task had.
GRACE, GRACE_SHARE = 1.0, 0.05


class Workers:
    """Up to `count` processes. A context manager: none outlives it."""

    def __init__(
        self, count: int = 1, *, verbose: bool = False, tensorflow: bool = True, begin: tuple[str, str] | None = None
    ) -> None:
        """Start nothing yet. Without `tensorflow` no process imports it before a task does.

        `begin` is a function, `module:name`, that each process calls instead before its first task, and its argument.
        """
        self._count = count
        tensorflow = tensorflow and begin is None
        self._start = partial(_Process, verbose=verbose, tensorflow=tensorflow, begin=begin)
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        """Start the first process: it imports TensorFlow while there is nothing to do yet."""
        self._processes.append(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process, and wait until it is gone."""
        _end(self._processes)

    def run(self, tasks: Sequence[Task], tell: Callable[[int, str], None] = silent) -> Generator[Any]:
        """Yield the results in the order of `tasks`; see `Runner`."""
        results = dict[int, Any]()
        with closing(self.as_finished(tasks, tell)) as finished:
            for index in range(len(tasks)):
                while index not in results:
                    results.update([next(finished)])
                yield results.pop(index)

    def as_finished(
        self, tasks: Sequence[Task], tell: Callable[[int, str], None] = silent
    ) -> Generator[tuple[int, Any]]:
        """Yield the index and the result of each task, whichever comes first; otherwise as `run`.

        Replace processes that died while there is work.
        """
        waiting, left = deque(enumerate(tasks)), len(tasks)
        try:
            while left:
                self._hand_out(waiting)
                wait([process.connection for process in self._processes], TICK)
                for found in [found for process in self._processes if (found := process.result(tell))]:
                    left -= 1
                    yield found
        finally:
            _end([process for process in self._processes if process.busy])

    def _hand_out(self, waiting: deque[tuple[int, Task]]) -> None:
        """Give each process without a task one that waits; start as many processes as there is work for."""
        self._processes = [process for process in self._processes if not process.gone]
        missing = min(self._count, len(waiting) + sum(p.busy for p in self._processes)) - len(self._processes)
        self._processes += [self._start() for _ in range(missing)]
        for place, process in enumerate(self._processes):
            if not waiting or process.busy:
                continue
            if process.used and (process.alone or waiting[0][1].alone):
                _end([process])
                self._processes[place] = process = self._start()  # noqa: PLW2901 - the one that takes its place
            process.give(*waiting.popleft())


def _end(processes: Sequence[_Process]) -> None:
    """End `processes` side by side."""
    for process in processes:
        process.ask_to_end()
    for process in processes:
        process.end()


class _Process:
    """One worker process, and the task that it has.

    Attributes:
        connection: carries tasks there, and stages and results back.
        busy: whether it has a task, which begins as soon as the process has started.
        used: whether it ever had one.
        alone: whether the last one leaves it of no use to others.
        gone: whether it has ended.
    """

    def __init__(self, *, verbose: bool, tensorflow: bool, begin: tuple[str, str] | None = None) -> None:
        """Start it."""
        self.connection, theirs = Pipe()
        self._traces = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is gone
        descriptors = theirs.fileno(), self._traces.fileno()
        # It searches the parent's own path: with -m the working directory, which may be hostile, would come first.
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from gradcheck.workers.process import main; "
            f"main(*{descriptors}, parent={os.getpid()}, verbose={verbose}, tensorflow={tensorflow}, "
            f"begin={begin})"
        )
        self._leads = not (sys.stdin and sys.stdin.isatty())  # a debugger's prompt needs the terminal's own group
        self._popen = subprocess.Popen(  # noqa: S603 - Python itself
            [sys.executable, "-c", code], pass_fds=descriptors, stdout=2, start_new_session=self._leads
        )
        theirs.close()
        self.busy = self.gone = self.used = self.alone = False
        self._idle = False
        self._watch: ServerWatch | None = None
        self._stage = f"loading {begin[1] if begin else 'TensorFlow'}"

    def give(self, index: int, task: Task) -> None:
        """Hand a task over as soon as the process waits for one."""
        self._index, self._task, self.busy, self.used, self.alone = index, task, True, True, task.alone
        self._watch = ServerWatch(task.servers) if task.servers else None
        self._until = float("inf")
        if self._idle:
            self._begin()

    def _begin(self) -> None:
        """Start the task and its time, in which loading TensorFlow does not count."""
        self._idle, self._stage = False, "starting"
        if self._task.seconds is not None:
            self._until = time.monotonic() + self._task.seconds
        with suppress(OSError):  # it has died since: `result` finds that out
            self.connection.send(self._task)

    def result(self, tell: Callable[[int, str], None]) -> tuple[int, Any] | None:
        """Return the index and the result of its task, once there is one: an error if it took too long or died."""
        ended = self._popen.poll() is not None  # looked at before reading: then all that it sent is there
        for kind, content in self._messages():
            if kind == "result":
                self._done()
                return self._index, content
            if kind == "ready":
                self._idle = True
                if self.busy:
                    self._begin()
            if kind == "stage":
                self._stage = content
                tell(self._index, content)
        if self.busy and time.monotonic() > self._until:
            return self._failed(lambda traces: timed_out(self._task.seconds or 0, traces, self._stage))
        if self.busy and self._watch and self._watch.error:
            failure = self._watch.error
            return self._failed(lambda _: failure)
        if ended or self.connection.closed:
            with suppress(subprocess.TimeoutExpired):  # the connection ends a moment before the process
                self._popen.wait(GRACE)
            status = self._popen.poll()
            return self._failed(lambda traces: died(status, traces, self._stage))
        return None

    def _done(self) -> None:
        self.busy = False
        if self._watch:
            self._watch.close()

    def _messages(self) -> Iterator[tuple[str, Any]]:
        """Yield all that has arrived. Close the connection if no more can come."""
        try:
            while not self.connection.closed and self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError):
            self.connection.close()

    def _failed(self, error: Callable[[str], GradcheckError]) -> tuple[int, GradcheckError] | None:
        """End the process; `error`, made of the stacks that it left behind, is the result of its task."""
        with suppress(ProcessLookupError):
            self._popen.send_signal(signal.SIGUSR1)  # where it is, written by C code, whatever Python is doing
        self.ask_to_end()
        busy = self.busy
        return (self._index, error(self.end())) if busy else None

    def ask_to_end(self) -> None:
        """Have it run its `finally` blocks, if it ever was given a task."""
        self._send(signal.SIGTERM if self.used else signal.SIGKILL)

    def end(self) -> str:
        """Wait until it is gone, not for long, and return the stacks that it left behind."""
        if self.gone:
            return ""
        own = self._task.seconds if self.busy else None
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(GRACE if own is None else min(GRACE, GRACE_SHARE * own))
        self._send(signal.SIGKILL)
        self._popen.wait()
        self.connection.close()
        self._done()
        self.gone = True
        with self._traces:
            self._traces.seek(0)
            return self._traces.read().decode(errors="replace")

    def _send(self, number: signal.Signals) -> None:
        """Send a signal to the process; the last one to all processes that it started, where it leads a group."""
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL and self._leads:
                os.killpg(self._popen.pid, number)
            elif self._popen.poll() is None:
                self._popen.send_signal(number)

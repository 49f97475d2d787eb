"""Processes that a script starts with `multiprocessing`: each is watched in itself, and leaves a record at its end."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.auditing.running.ending import CLEANING_UP, LINGERING, SIGNAL
from gradcheck.auditing.running.observation import Observation
from gradcheck.building.messages import described
from gradcheck.user_calls.patches import Patches
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.records.record import Record

#: Under this name a process object holds what its child needs, while it is being started.
_KEY = "_gradcheck_audit"


@dataclass(frozen=True, kw_only=True)
class Order:
    """How the processes of a script are watched.

    Attributes:
        file: the script in reports.
        record: the file of this process's record; None: those of its children are temporary.
        verbose: whether to show TensorFlow's start-up chatter.
    """

    options: AuditOptions
    file: str
    record: Path | None
    verbose: bool


class Started(NamedTuple):
    """A process that was started, and the file that it writes its record to."""

    name: str
    pid: int | None
    record: Path


class Children:
    """The processes that this process starts."""

    def __init__(self, observation: Observation, order: Order) -> None:
        """Nothing was started."""
        self._observation, self._order, self._process = observation, order, os.getpid()
        self._numbers = itertools.count(1)
        self._folder: Path | None = None
        self.started: list[Started] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the processes that are started inside."""
        patches = Patches()
        patches.wrap(BaseProcess, "start", self._start)
        try:
            yield
        finally:
            patches.undo()

    def _start(self, original: Any, process: BaseProcess) -> None:
        if os.getpid() != self._process:  # a fork, whose own children are not this one's
            original(process)
            return
        self._observation.expect_others()
        path = self._file(next(self._numbers))
        path.unlink(missing_ok=True)
        vars(process)[_KEY] = _Child(replace(self._order, record=path), self._observation)
        try:
            original(process)
        finally:
            vars(process).pop(_KEY, None)
        self.started.append(Started(process.name, process.pid, path))

    def _file(self, number: int) -> Path:
        record = self._order.record
        if record is not None:
            return record.with_name(f"{record.stem}-{number}{record.suffix}")
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="gradcheck-"))
        return self._folder / f"{number}.npz"

    def settle(self, last: Callable[[], None], *, cut_short: bool) -> None:
        """Wait for the processes as Python does at its end; those of a script that was ended have a short while.

        Args:
            last: what the script does at its end, for which they may wait.
            cut_short: whether it was ended.
        """
        alive = multiprocessing.active_children() if self.started else []
        until = time.monotonic() + LINGERING
        for child in alive if cut_short else ():
            child.join(max(0.0, until - time.monotonic()))
        doomed = [child for child in alive if child.is_alive() and (cut_short or child.daemon)]
        self._ask(doomed)
        if alive and not cut_short:
            last()
        for child in doomed:
            child.terminate()
        for child in alive:
            child.join(LINGERING if child in doomed else None)

    def _ask(self, children: Sequence[BaseProcess]) -> None:
        """Let processes that will be terminated write their records, whatever they wait for."""
        files = {one.pid: one.record for one in self.started}
        waiting = [child for child in children if SIGNAL and child.pid in files]
        until = time.monotonic() + CLEANING_UP
        for child in waiting:
            if child.pid is not None and not files[child.pid].exists():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, SIGNAL)
        while time.monotonic() < until and any(c.is_alive() and not files[c.pid].exists() for c in waiting):
            time.sleep(0.02)

    def records(self) -> tuple[list[Record], list[str]]:
        """Return the records of processes that have seen anything, and notes on the others and on the files."""
        from gradcheck.auditing.records.files import read_with_children  # noqa: PLC0415 - only where there are any

        found, notes = [], []
        for name, _, path in self.started:
            if path.exists():
                found += [record for record in read_with_children(path) if record.saw_anything]
            else:
                notes.append(
                    f"{name} left no record: it was terminated, or ended by os._exit, before it had seen enough"
                )
        if self._order.record is not None and found:
            names = ", ".join(one.record.name for one in self.started)
            notes.append(f"the processes that were started wrote their records to {names}")
        elif self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return found, notes


class _Child:
    """What begins in a child before its target, and ends after it.

    By the hooks of `multiprocessing`, so that the target's traceback has no frame of ours.
    """

    def __init__(self, order: Order, inherited: Observation | None) -> None:
        from multiprocessing import util  # noqa: PLC0415 - registers with atexit: not before the script does

        self._order, self._inherited = order, inherited
        util.register_after_fork(self, _Child._forked)

    def __getstate__(self) -> Order:
        return self._order

    def __setstate__(self, order: Order) -> None:
        """Begin in a process that was not forked: the process object is read there before its target runs."""
        self._order = order
        self._begin()

    def _forked(self) -> None:
        if vars(multiprocessing.current_process()).get(_KEY) is self and self._inherited is not None:
            self._inherited.abandon()
            self._begin()

    def _begin(self) -> None:
        from multiprocessing import util  # noqa: PLC0415 - as above

        self._start, self._once = time.perf_counter(), threading.Lock()
        options = replace(self._order.options, record=True)
        self._observation = Observation(options, end=self._finish, tell=silent, verbose=self._order.verbose)
        self._children = Children(self._observation, self._order)
        self._open = ExitStack()
        self._open.enter_context(self._observation.ready())
        self._open.enter_context(self._children.watched())
        util.Finalize(None, self._finish, exitpriority=-1)
        if SIGNAL and threading.current_thread() is threading.main_thread():
            signal.signal(SIGNAL, lambda *_: self._finish())

    def _finish(self) -> None:
        """Write the record, once: when enough has been seen, or at the end of the process."""
        if not self._once.acquire(blocking=False):
            return
        from gradcheck.auditing.records.files import write  # noqa: PLC0415 - nothing of ours before the script's own
        from gradcheck.auditing.records.record import Record  # noqa: PLC0415 - as above

        error = sys.exc_info()[1]
        self._open.close()
        watch, name = self._observation.watch, multiprocessing.current_process().name
        children = tuple(one.record.name for one in self._children.started)
        record = Record(name=name, children=children)
        if watch is not None:
            run = watch.report(name=name, file=self._order.file, seconds=time.perf_counter() - self._start)
            if isinstance(error, Exception):
                run = replace(run, notes=(*run.notes, f"it raised {described(error)}"))
            record = watch.crossings.record(name, run, children)
        path = self._order.record
        if path is not None and path.parent.exists():  # else nobody waits for it any more
            write(path, record)

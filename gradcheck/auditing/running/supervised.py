"""A script from its first line to the end of its last thread, under observation."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from gradcheck.auditing.running.children import Children, Order
from gradcheck.auditing.running.ending import (
    CLEANING_UP,
    Stopped,
    Stopper,
    ended_after,
    leave,
    settled,
    wait_as_python_does,
)
from gradcheck.auditing.running.exit_handlers import ExitHandlers
from gradcheck.auditing.running.observation import Observation
from gradcheck.auditing.running.raised import failure_of
from gradcheck.auditing.running.script import as_main, execute
from gradcheck.building.messages import is_foreign
from gradcheck.errors import ExitCode
from gradcheck.workers.output import user_output_to_stderr

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path
    from types import FrameType

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.running.script import Script
    from gradcheck.auditing.watch import Watch
    from gradcheck.errors import GradcheckError
    from gradcheck.results.report import RunReport

_INTERRUPTED = "interrupted: what the script does after this was not watched"


def run_script(
    script: Script,
    options: AuditOptions,
    *,
    deliver: Callable[[Callable[[], RunReport]], int],
    tell: Callable[[str], None],
    record: Path | None = None,
    verbose: bool = False,
) -> int:
    """Run a script under observation, and return the exit code of `deliver`.

    If threads of a script that was ended go on, or it does not end itself, the process ends here.

    Args:
        script: the script.
        options: what is watched.
        deliver: calls its argument for the report, writes it and returns the exit code, whatever happens. Called once,
            in another thread if the script hangs.
        tell: takes a line of progress.
        record: the file for what this process has seen.
        verbose: whether to show TensorFlow's start-up chatter.

    Raises:
        KeyboardInterrupt: if the script was interrupted.
        UsageError: if the module does not exist.
    """
    others, process, start = frozenset(threading.enumerate()), os.getpid(), time.perf_counter()

    def finished(seconds: float, error: GradcheckError | None = None, note: str | None = None) -> RunReport:
        watch = observation.finished()
        run = watch.report(name=script.name, file=script.file, seconds=seconds, error=error)
        run = replace(run, notes=(*run.notes, note)) if note else run
        return _with_others(watch, run, children, options, record)

    def report(error: GradcheckError | None = None, note: str | None = None) -> int:
        return deliver(partial(finished, time.perf_counter() - start, error, note))

    def so_far() -> RunReport:
        children.settle(handlers.run, cut_short=True)
        return finished(time.perf_counter() - start, note=_INTERRUPTED)

    def late() -> NoReturn:
        children.settle(handlers.run, cut_short=True)
        code = report(note=_hung(stopper.frame))
        with ended_after(CLEANING_UP, code):
            handlers.run()
        leave(code)

    with as_main(script), user_output_to_stderr(), ExitHandlers() as handlers:
        stopper, hook = Stopper(late), sys.excepthook
        observation = Observation(options, end=stopper.end, tell=tell, verbose=verbose)
        order = Order(options=options, file=script.file, record=record, verbose=verbose)
        children = Children(observation, order)
        with _known_if_interrupted(observation, so_far, deliver), observation.ready(), children.watched():
            raised = stopper.run(partial(_whole, script, others))
        own_hook = sys.excepthook if sys.excepthook is not hook else None
        error = failure_of(raised, script, own_hook, verbose=verbose)
        if os.getpid() != process:  # a fork that ran the rest of the script: the report is its parent's
            handlers.run()
            leave(ExitCode.MISMATCH if error else ExitCode.OK)
        cut_short = bool(stopper.requested or error)
        children.settle(handlers.run, cut_short=cut_short)
        code = report(error)
        if cut_short:
            ended = settled(others)
            with ended_after(CLEANING_UP, code):
                handlers.run()
            if not ended:
                leave(code)
    return code


def _whole(script: Script, others: Collection[threading.Thread]) -> None:
    """Run the script, and wait for its threads, which are not among the `others`."""
    try:
        execute(script)
    except SystemExit as ended:
        if isinstance(ended, Stopped) or ended.code:
            raise
    wait_as_python_does(others)


@contextmanager
def _known_if_interrupted(
    observation: Observation, so_far: Callable[[], RunReport], deliver: Callable[[Callable[[], RunReport]], int]
) -> Iterator[None]:
    """Where Ctrl-C ends what happens inside, deliver what was judged by then, if anything was."""
    process = os.getpid()
    try:
        yield
    except KeyboardInterrupt:
        if os.getpid() == process and observation.watch is not None:
            run = so_far()
            if run.verdict != "vacuous":
                deliver(lambda: run)
        raise


def _with_others(
    watch: Watch, run: RunReport, children: Children, options: AuditOptions, record: Path | None
) -> RunReport:
    """Write the record of this process if there is a file for it, and return its report, joined with its children's.

    A script that failed by itself has its own report alone.
    """
    if record is not None:
        from gradcheck.auditing.records.files import write  # noqa: PLC0415 - only for several processes

        write(record, watch.crossings.record(run.name, run, [one.record.name for one in children.started]))
    if not children.started:
        return run
    others, notes = children.records()
    if others and not run.errors:
        from gradcheck.auditing.records.joining import join  # noqa: PLC0415 - as above

        joined = join([watch.crossings.record(run.name, run), *others], options)
        run = replace(joined, name=run.name, config=run.config)
    return replace(run, notes=(*run.notes, *notes))


def _hung(frame: FrameType | None) -> str:
    """Return the note on a script that did not end itself."""
    while frame is not None and is_foreign(frame.f_code.co_filename):
        frame = frame.f_back
    at = f", at {os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else ""  # noqa: PTH119 - a name
    after = f"{CLEANING_UP:.0f} s after the last update that was watched"
    return f"{after} the script was still busy{at}: it was ended there"

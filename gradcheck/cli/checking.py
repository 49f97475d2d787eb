"""Running the configs: progress on standard error, user output kept out of the report, one or several processes."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TYPE_CHECKING

from gradcheck.cli.terminal.errors import traceback_text
from gradcheck.cli.terminal.options import settings
from gradcheck.cli.terminal.streams import quiet_tensorflow, user_output_to_stderr
from gradcheck.errors import RunError
from gradcheck.reporters.parts.text import inline
from gradcheck.results.report import RunReport
from gradcheck.session.configs import CheckOptions, Progress, check_all, check_one, envelope, environment, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from gradcheck.cli.run_arguments import RunArguments
    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.report import Report


def checked(entries: Sequence[LoadedConfig | RunReport], arguments: RunArguments) -> Report:
    """Check every config of `entries`, and return the report over all of them."""
    options = CheckOptions(fail_fast=arguments.fail_fast, timeout=arguments.timeout)
    if settings().verbose:
        options = dataclasses.replace(options, on_error=print_traceback)
    if all(isinstance(entry, RunReport) for entry in entries):  # nothing to run: TensorFlow is not needed
        return check_all(entries, options)
    if arguments.jobs > 1:
        return _in_processes(entries, options, arguments.jobs)
    with user_output_to_stderr(), progress() as show:
        show("loading TensorFlow")
        quiet_tensorflow(verbose=settings().verbose)
        return check_all(entries, _watched(options, show))


def _watched(options: CheckOptions, show: Callable[[str], None]) -> CheckOptions:
    """Return `options` that show each stage as progress."""

    def on_progress(event: Progress) -> None:
        show(f"[{event.index + 1}/{event.total}] {event.config}: {event.stage}")

    return dataclasses.replace(options, on_progress=on_progress)


def print_traceback(path: Path, error: BaseException) -> None:
    """Print the traceback of the config at `path` to standard error."""
    # In one write: another process may write too.
    sys.stderr.write(f"{inline(str(path))}:\n{traceback_text(error)}\n")


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show one line of progress if standard error is a terminal, and nothing otherwise."""
    if settings().quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.markup import escape  # noqa: PLC0415 - as above

    console = Console(stderr=True, no_color=not settings().colored())
    with console.status("") as status:
        yield lambda line: status.update(escape(inline(line)))


def _in_processes(entries: Sequence[LoadedConfig | RunReport], options: CheckOptions, jobs: int) -> Report:
    """Check each config in one of `jobs` processes; with `fail_fast` the waiting ones are cancelled after a failure."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    verbose = settings().verbose
    runs: list[RunReport] = []
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=partial(_start_process, verbose)) as pool:
        where = pool.submit(environment)  # the device is known only where TensorFlow runs
        waiting = [
            entry if isinstance(entry, RunReport) else (entry, pool.submit(_one, entry, options)) for entry in entries
        ]
        for entry in waiting:
            runs.append(entry if isinstance(entry, RunReport) else _result(*entry))
            if options.fail_fast and runs[-1].exit_code:
                pool.shutdown(cancel_futures=True)
                break
    report = envelope(runs)
    return report if where.exception() else dataclasses.replace(report, environment=where.result())


def _result(loaded: LoadedConfig, future: Future[RunReport]) -> RunReport:
    """Return the run of `loaded`; an error, if its process was killed (out of memory, a crash below Python)."""
    try:
        return future.result()
    except BrokenProcessPool:
        error = RunError(
            "a process was killed while this config ran, or waited for its turn",
            help="run the configs one by one (without --jobs) to see which; it may be out of memory",
        )
        return unreadable(loaded.path, error)


def _start_process(verbose: bool) -> None:  # noqa: FBT001 - a pool's initializer takes no keywords
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback; the parent says "interrupted"
    with user_output_to_stderr():
        quiet_tensorflow(verbose=verbose)


def _one(loaded: LoadedConfig, options: CheckOptions) -> RunReport:
    with user_output_to_stderr():
        return check_one(loaded, options)

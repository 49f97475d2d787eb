"""Running the configs in workers, with progress on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.cli.terminal.errors import traceback_text
from gradcheck.cli.terminal.options import settings
from gradcheck.errors import GradcheckError
from gradcheck.reporters.parts.text import inline
from gradcheck.results.report import RunReport
from gradcheck.session.configs import CheckOptions, envelope, errored
from gradcheck.workers import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from gradcheck.cli.run_arguments import RunArguments
    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.report import Report
    from gradcheck.workers import Runner


def checked(entries: Sequence[LoadedConfig | RunReport], arguments: RunArguments, pool: Runner) -> Report:
    """Check every config of `entries` and return the report; with `fail_fast` up to the first failure."""
    options = CheckOptions(fail_fast=arguments.fail_fast)
    if settings().verbose:
        options = dataclasses.replace(options, on_error=print_traceback)
    task = Task(
        target="gradcheck.session.configs:check_with_environment", arguments=(options,), seconds=arguments.timeout
    )
    runs, ran_on = [], None
    with contextlib.closing(in_workers(entries, task, pool)) as found:
        for entry, result in found:
            if isinstance(entry, RunReport):
                runs.append(entry)
            elif isinstance(result, GradcheckError):
                runs.append(errored(entry, result))
            else:
                run, ran_on = result
                runs.append(run)
            if options.fail_fast and runs[-1].exit_code:
                break
    return envelope(runs, ran_on, folder=Path(runs[0].config).parent, safe=arguments.safe)


def in_workers(
    entries: Sequence[LoadedConfig | RunReport], task: Task, pool: Runner
) -> Generator[tuple[LoadedConfig | RunReport, Any]]:
    """Yield each entry with the result of `task` for it, in order, None for a report. Show progress meanwhile.

    Args:
        entries: the configs.
        task: the work on one config, which precedes the arguments given here.
        pool: where the work is done.
    """
    loaded = [(number, entry) for number, entry in enumerate(entries, 1) if not isinstance(entry, RunReport)]
    tasks = [dataclasses.replace(task, arguments=(entry, *task.arguments)) for _, entry in loaded]
    with _progress() as show:

        def tell(index: int, stage: str) -> None:
            number, entry = loaded[index]
            show(f"[{number}/{len(entries)}] {entry.path}: {stage}")

        with contextlib.closing(pool.run(tasks, tell)) as results:
            for entry in entries:
                yield entry, None if isinstance(entry, RunReport) else next(results)


def print_traceback(path: Path, error: BaseException) -> None:
    """Print the traceback of the config at `path` to standard error."""
    # In one write: another process may write too.
    sys.stderr.write(f"{inline(str(path))}:\n{traceback_text(error)}\n")


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show one line of progress if standard error is a terminal, and nothing otherwise."""
    if settings().quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.markup import escape  # noqa: PLC0415 - as above

    console = Console(stderr=True, no_color=not settings().colored())
    with console.status("") as status:
        yield lambda line: status.update(escape(inline(line)))

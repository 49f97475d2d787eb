"""Writing the report to standard output or a file, and its summary to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from gradcheck.cli.terminal.errors import print_mistakes
from gradcheck.cli.terminal.github_job import add_to_summary
from gradcheck.cli.terminal.options import settings
from gradcheck.cli.terminal.streams import write_report
from gradcheck.errors import ExitCode
from gradcheck.files import write_file
from gradcheck.phrases import plural
from gradcheck.reporters.interface import RenderOptions
from gradcheck.reporters.parts.words import beside_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.cli.terminal.destinations import Destination
    from gradcheck.reporters.interface import Show
    from gradcheck.results.mutation import Mutations
    from gradcheck.results.report import Report


#: A report that reporters render: of `run`, `audit` and `layer`, or of `mutate`.
Rendered = TypeVar("Rendered", "Report", "Mutations")


def deliver(
    report: Rendered,
    reporters: Mapping[str, Callable[[Rendered, RenderOptions], str]],
    destinations: Sequence[Destination],
    *,
    show: Show,
    stdout: TextIO | None = None,
) -> None:
    """Render the report in each format, and write it to its file, or to standard output.

    `stdout` is what standard output was before user code was run that still runs.

    Errors are also printed to standard error, in full and with their line in the file. They are left out if both
    streams go to one place: the table has them already. Files are opened only after all is rendered, so that a failure
    leaves older reports as they were.
    """
    stdout = stdout or sys.stdout
    shown = [one.format_ for one in destinations if one.file is None]
    if not (shown == ["table"] and _same_place(stdout, sys.stderr)):
        print_mistakes((error for run in report.runs for error in run.errors), color=settings().colored())
    texts = [reporters[one.format_](report, render_options(one.file, show, stdout)) for one in destinations]
    for one, text in sorted(zip(destinations, texts, strict=True), key=lambda pair: pair[0].file is None):
        write(text, one.file, stdout)
    if any(one.format_ == "github" for one in destinations):
        # Folded rows of every tensor are too much for a page about a whole job.
        add_to_summary(reporters["markdown"](report, render_options(None, "failed" if show == "all" else show, stdout)))


def render_options(file: Path | None, show: Show, stdout: TextIO) -> RenderOptions:
    """Return the options of a report that goes to `file`, or to standard output."""
    terminal = file is None and stdout.isatty()
    return RenderOptions(
        show=show,
        width=shutil.get_terminal_size().columns if terminal else None,
        color=file is None and settings().colored(terminal=terminal),
        verbose=settings().verbose,
    )


def write(text: str, file: Path | None, stdout: TextIO | None = None) -> None:
    """Write a rendered report to `file`, or to standard output."""
    if file is None:
        write_report(text + "\n", stdout)
    else:
        write_file(file, text + "\n")


def _same_place(one: TextIO, other: TextIO) -> bool:
    """Whether both streams go to one terminal, pipe or file."""
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except OSError:  # no file at all
        return False


def summarise(report: Report, seconds: float | None, *, one: str = "config") -> None:
    """Print one line to standard error: the number of configs by verdict, and the time; nothing with `-q`.

    `one` is the noun for what was run. Without `seconds` nothing was run here.
    """
    if settings().quiet:
        return
    counts = report.summary
    found = {
        "passed": counts.passed,
        "failed": counts.failed,
        "in error": counts.errors,
        "proved nothing": counts.vacuous,
    }
    words = ", ".join(f"{count} {word}" for word, count in found.items() if count)
    took = "" if seconds is None else f" in {seconds:.1f} s"
    click.echo(f"{plural(counts.runs, one)}: {words or 'nothing to do'}{beside_errors(report)}{took}", err=True)


def verdict_code(code: ExitCode, *, exit_zero: bool) -> ExitCode:
    """Return the exit code; with `exit_zero` 0 for any verdict that is not an error."""
    lenient = exit_zero and code in (ExitCode.MISMATCH, ExitCode.VACUOUS)
    return ExitCode.OK if lenient else code

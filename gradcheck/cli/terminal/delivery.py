"""Writing the report to standard output or a file, and its summary to standard error."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO, TypeVar

import click

from gradcheck.cli.terminal.errors import print_mistakes
from gradcheck.cli.terminal.files import write_file
from gradcheck.cli.terminal.options import settings
from gradcheck.cli.terminal.streams import write_report
from gradcheck.errors import ExitCode
from gradcheck.phrases import plural
from gradcheck.reporters.interface import RenderOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.reporters.interface import Show
    from gradcheck.results.mutation import Mutations
    from gradcheck.results.report import Report


#: A report that reporters render: of `run` and `layer`, or of `mutate`.
Rendered = TypeVar("Rendered", "Report", "Mutations")


def deliver(
    report: Rendered,
    render: Callable[[Rendered, RenderOptions], str],
    *,
    format_: str,
    output: Path | None,
    show: Show,
    stdout: TextIO | None = None,
) -> None:
    """Render the report and write it to `output`, or to standard output if that is None.

    `stdout` is what standard output was before user code was run that still runs.

    Errors are also printed to standard error, in full and with their line in the file. They are left out if both
    streams go to one place: the table has them already. The output file is opened only after rendering, so that a
    failure leaves an older report as it was.
    """
    stdout = stdout or sys.stdout
    terminal = output is None and stdout.isatty()
    options = RenderOptions(
        show=show,
        width=shutil.get_terminal_size().columns if terminal else None,
        color=output is None and settings().colored(terminal=terminal),
        verbose=settings().verbose,
    )
    if not (format_ == "table" and output is None and _same_place(stdout, sys.stderr)):
        print_mistakes((error for run in report.runs for error in run.errors), color=settings().colored())
    text = render(report, options) + "\n"
    if output is None:
        write_report(text, stdout)
    else:
        write_file(output, text)


def _same_place(one: TextIO, other: TextIO) -> bool:
    """Whether both streams go to one terminal, pipe or file."""
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except OSError:  # no file at all
        return False


def summarise(report: Report, seconds: float, *, one: str = "config") -> None:
    """Print one line to standard error: the number of configs by verdict, and the time; nothing with `-q`.

    `one` is the noun for what was run.
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
    click.echo(f"{plural(counts.runs, one)}: {words} in {seconds:.1f} s", err=True)


def verdict_code(report: Report, *, exit_zero: bool) -> ExitCode:
    """Return the exit code of a report; with `exit_zero` 0 for any verdict that is not an error."""
    code = report.exit_code
    lenient = exit_zero and code in (ExitCode.MISMATCH, ExitCode.VACUOUS)
    return ExitCode.OK if lenient else code

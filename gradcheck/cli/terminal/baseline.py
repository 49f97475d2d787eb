"""What a report has differently from an older one that is known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.delivery import render_options
from gradcheck.cli.terminal.github_job import add_to_summary
from gradcheck.reporters.difference import DIFFERENCE_REPORTERS
from gradcheck.results.difference import difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.cli.terminal.destinations import Destination
    from gradcheck.errors import ExitCode
    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import Report


def newly_failing(
    baseline: Report, report: Report, file: str, *, show: Show, formats: Sequence[Destination]
) -> ExitCode:
    """Write what `report` has differently to standard error, and return the exit code of what newly fails.

    Args:
        baseline: the older report.
        report: the one of this run.
        file: the name of the older one.
        show: which changes are written.
        formats: those of the report: with `github` among them the changes are in the job's summary too.
    """
    found = difference(baseline, report, old_file=file)
    options = render_options(None, show, sys.stderr)
    click.echo(DIFFERENCE_REPORTERS["table"](found, options), err=True)
    if any(one.format_ == "github" for one in formats):
        add_to_summary(DIFFERENCE_REPORTERS["markdown"](found, options))
    return found.severity

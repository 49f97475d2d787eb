"""`gradcheck plan`: the segments and their cost, without computing any gradient."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.options import Command, option, safe_option, set_option, settings, terminal_options
from gradcheck.cli.terminal.streams import write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.plan import PlanReport

_EXAMPLES = ("gradcheck plan gradcheck.yaml", "gradcheck plan gradcheck.yaml --set split='{parts: 4}'")


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@set_option
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    section="Report",
    help="How the plan is written.",
)
@safe_option
@terminal_options
def plan(path: Path, overrides: Sequence[str], format_: str, safe: bool) -> None:  # noqa: FBT001 - click's signature
    """Show the segments, what crosses their boundaries, and what each method would cost in memory.

    Without `split` in the config it lists every name that `split.after` accepts.
    """
    from gradcheck.config.load import load_config  # noqa: PLC0415 - not needed for --help
    from gradcheck.reporters.plan import render_plan  # noqa: PLC0415 - as above
    from gradcheck.workers import Task, result_of, workers  # noqa: PLC0415 - as above

    with workers(verbose=settings().verbose) as pool:
        loaded = load_config(path, overrides=overrides, safe=safe)
        report: PlanReport = result_of(pool, Task(target="gradcheck.session.plan:outline", arguments=(loaded,)))
    terminal = sys.stdout.isatty()
    if format_ == "json":
        write_report(report.to_json() + "\n")
        return
    width = shutil.get_terminal_size().columns if terminal else None
    write_report(render_plan(report, width=width, color=settings().colored(terminal=terminal)) + "\n")

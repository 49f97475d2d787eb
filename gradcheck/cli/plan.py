"""`gradcheck plan`: the segments and their cost, without computing any gradient."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.options import Command, option, safe_option, set_option, settings, terminal_options
from gradcheck.cli.terminal.streams import quiet_tensorflow, user_output_to_stderr, write_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.load import LoadedConfig
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
    from gradcheck.reporters.parts.text import printable_json  # noqa: PLC0415 - as above
    from gradcheck.reporters.plan import render_plan  # noqa: PLC0415 - as above

    loaded = load_config(path, overrides=overrides, safe=safe)
    report = _outlined(loaded)
    terminal = sys.stdout.isatty()
    if format_ == "json":
        write_report(printable_json(json.dumps(report.to_dict(), indent=2, ensure_ascii=False)) + "\n")
        return
    width = shutil.get_terminal_size().columns if terminal else None
    write_report(render_plan(report, width=width, color=settings().colored(terminal=terminal)) + "\n")


def _outlined(loaded: LoadedConfig) -> PlanReport:
    """Return the plan; output of user code goes to standard error."""
    with user_output_to_stderr():
        quiet_tensorflow(verbose=settings().verbose)
        from gradcheck.session.plan import outline  # noqa: PLC0415 - TensorFlow starts here

        return outline(loaded)

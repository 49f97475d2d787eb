"""`gradcheck diff`: what two JSON reports have differently."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.terminal.options import Command, option, terminal_options
from gradcheck.errors import UsageError
from gradcheck.files import require_writable
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import Report

_EXAMPLES = (
    "gradcheck diff before.json after.json",
    "gradcheck diff main.json branch.json --show failed --format markdown -o comment.md",
)
_WRITE_ONE = "`gradcheck run --format json -o FILE` writes a report; so do audit and layer"


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD.json")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW.json")
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    section="Report",
    help="How the difference is written.",
)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Report",
    help="Write the difference to FILE.",
)
@option(
    "--show",
    type=click.Choice(["all", "failed", "summary"]),
    default="all",
    show_default=True,
    section="Report",
    help="Every change, only what newly fails, or the counts alone.",
)
@terminal_options
def diff(*, old: Path, new: Path, format_: str, output: Path | None, show: Show) -> int:
    """Compare two JSON reports of run, audit or layer: what newly fails or passes, drifted, appeared and vanished.

    A tensor has drifted if its error moved by more than rounding explains: four noise floors, or the absolute tolerance
    where no floor was measured. The exit code is 1 if something newly fails, else 0, and 2 if a file is no report.
    """
    from gradcheck.cli.terminal.delivery import render_options, write  # noqa: PLC0415 - not needed for --help
    from gradcheck.reporters.difference import DIFFERENCE_REPORTERS  # noqa: PLC0415 - as above
    from gradcheck.results.difference import difference  # noqa: PLC0415 - as above

    require_writable(output)
    found = difference(read_report(old), read_report(new), old_file=str(old), new_file=str(new))
    write(DIFFERENCE_REPORTERS[format_](found, render_options(output, show, sys.stdout)), output)
    return found.exit_code


def read_report(path: Path) -> Report:
    """Read a JSON report of `run`, `audit` or `layer`.

    Raises:
        UsageError: if the file cannot be read, or is no such report.
    """
    from gradcheck.results.report import Report  # noqa: PLC0415 - not needed for --help

    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {os_reason(error)}", code="GC001") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {_reason(error)}", code="GC010", help=_WRITE_ONE) from None
    try:
        _refuse_others(data)
        return Report.from_dict(data)
    except ValueError as error:
        raise UsageError(f"{path}: {error}", code="GC010", help=_WRITE_ONE) from None


def _reason(error: ValueError | RecursionError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _refuse_others(data: Any) -> None:
    """Refuse JSON of gradcheck that is no report of gradients.

    Raises:
        ValueError: if it is of `mutate` or `diff`.
    """
    kinds = {"faults": "mutate", "changes": "diff"}
    other = next((name for key, name in kinds.items() if isinstance(data, dict) and key in data), None)
    if other:
        raise ValueError(f"this is the output of `gradcheck {other}`, not a report of gradients")

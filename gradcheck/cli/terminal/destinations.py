"""Where reports go: `--format FORMAT[:FILE]`, given several times, and `-o FILE`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The formats of a report: the keys of `gradcheck.reporters.REPORTERS`, which is too slow to import for --help.
FORMATS = ("table", "concise", "json", "junit", "github", "markdown", "html")


@dataclass(frozen=True)
class Destination:
    """One report: its format, and the file that it goes to; None for standard output."""

    format_: str
    file: Path | None = None


def parse_formats(ctx: click.Context, option: click.Parameter, values: Sequence[str]) -> tuple[Destination, ...]:
    """Return the destinations that the values of `--format` name; a callback of click."""
    found = []
    for value in values:
        name, colon, file = value.partition(":")
        if name not in FORMATS:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(FORMATS)}.", ctx, option)
        if colon and (not file or Path(file).is_dir()):
            raise click.BadParameter(f"{value!r} names {'a directory' if file else 'no file'}.", ctx, option)
        found.append(Destination(name, Path(file) if file else None))
    return tuple(found)


def destinations(formats: Sequence[Destination], output: Path | None) -> tuple[Destination, ...]:
    """Return where each report goes: a format without a file to `output`, without that to standard output.

    Raises:
        UsageError: if two reports would go to one place, or none to `output`.
    """
    asked = formats or (Destination("table"),)
    if output is not None and all(one.file for one in asked):
        message = f"-o {output} is for a --format without a file, and each has one"
        raise UsageError(message, code="GC010", help="leave out -o")
    placed = tuple(replace(one, file=one.file or output) for one in asked)
    files = [one.file for one in placed]
    twice = [file for index, file in enumerate(files) if file in files[:index]]
    if twice:
        help_ = "give each --format a file of its own, such as --format html:report.html"
        raise UsageError(f"two reports cannot go to {twice[0] or 'standard output'}", code="GC010", help=help_)
    return placed

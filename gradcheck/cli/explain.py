"""`gradcheck explain`: what a code means, what leads to it, and how to mend it."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.options import Command, option, settings, terminal_options
from gradcheck.cli.terminal.streams import write_report
from gradcheck.errors import UsageError
from gradcheck.files import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.catalogue import Entry

_EXAMPLES = ("gradcheck explain", "gradcheck explain GC101", "gradcheck explain gc201 gc203 --format markdown")


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("codes", nargs=-1, metavar="[CODE]...")
@option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    section="Output",
    help="How the explanation is written.",
)
@option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", section="Output", help="Write to FILE.")
@terminal_options
def explain(codes: Sequence[str], format_: str, output: Path | None) -> None:
    """Say what a code means, what usually leads to it, and how to mend it, with TensorFlow code that does it right.

    Without CODE: the list of all codes, and in the formats json and markdown the whole catalogue.
    """
    entries = _entries(codes)
    terminal = output is None and sys.stdout.isatty()
    text = _written(
        entries, format_, terminal=terminal, colored=output is None and settings().colored(terminal=terminal)
    )
    if output is None:
        write_report(text + "\n")
    else:
        write_file(output, text + "\n")


def _entries(codes: Sequence[str]) -> list[Entry]:
    """Return the entries of `codes`, each once, in the given order.

    Raises:
        UsageError: GC010, if a code has no entry.
    """
    from gradcheck.catalogue import CATALOGUE  # noqa: PLC0415 - not needed for --help

    wanted = list(dict.fromkeys(code.upper() for code in codes))
    unknown = [code for code in wanted if code not in CATALOGUE]
    if unknown:
        from gradcheck.phrases import nearest  # noqa: PLC0415 - not needed otherwise

        near = list(dict.fromkeys(filter(None, (nearest(code.replace("O", "0"), CATALOGUE) for code in unknown))))
        meant = f"did you mean {' or '.join(f'`{code}`' for code in near)}? " if near else ""
        what = "code" if len(unknown) == 1 else "codes"
        raise UsageError(
            f"unknown {what}: {', '.join(unknown)}", code="GC010", help=f"{meant}`gradcheck explain` lists all codes"
        )
    return [CATALOGUE[code] for code in wanted]


def _written(entries: Sequence[Entry], format_: str, *, terminal: bool, colored: bool) -> str:
    """Return the text without its last line break; no `entries` stand for all of them."""
    from gradcheck.catalogue import CATALOGUE  # noqa: PLC0415 - as above
    from gradcheck.reporters import explain as reporter  # noqa: PLC0415 - as above

    if format_ == "json":
        return reporter.render_json(entries or list(CATALOGUE.values()))
    if format_ == "markdown":
        return reporter.render_markdown(entries) if entries else reporter.render_document()
    heading = partial(click.style, bold=True) if colored else str
    width = min(shutil.get_terminal_size().columns, 100) if terminal else None
    return (
        reporter.render_text(entries, width=width, heading=heading)
        if entries
        else reporter.render_list(heading=heading)
    )

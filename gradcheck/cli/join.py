"""`gradcheck join`: the JSON reports of several machines as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.diff import read_report
from gradcheck.cli.terminal.destinations import Destination, destinations
from gradcheck.cli.terminal.options import Command, exit_zero_option, report_options, settings, terminal_options
from gradcheck.errors import UsageError
from gradcheck.files import require_writable

if TYPE_CHECKING:
    from gradcheck.reporters.interface import Show

_EXAMPLES = (
    "gradcheck join shard-*.json",
    "gradcheck join shard-*.json --format html:report.html --format junit:gradients.xml --format github",
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE.json...")
@report_options
@exit_zero_option
@terminal_options
def join(
    *,
    files: tuple[Path, ...],
    formats: tuple[Destination, ...],
    output: Path | None,
    show: Show,
    exit_zero: bool,
) -> int:
    """Join JSON reports to one: those of the shards of `gradcheck run --shard`, or of different configs.

    The report and the exit code are those of one run of all configs. A shard that is missing, or a config that is
    there twice, is an error; other versions or another commit are told on standard error.
    """
    from gradcheck.cli.terminal.delivery import deliver, summarise, verdict_code  # noqa: PLC0415 - not for --help
    from gradcheck.reporters import REPORTERS  # noqa: PLC0415 - as above
    from gradcheck.results.shards import joined, unlike  # noqa: PLC0415 - as above

    reports = destinations(formats, output)
    for one in reports:
        require_writable(one.file)
    parts = {}
    for file in files:
        if str(file) in parts:
            raise UsageError(f"{file} is given twice", code="GC010")
        parts[str(file)] = read_report(file)
    try:
        report = joined(parts)
    except ValueError as error:
        raise UsageError(f"cannot be joined: {error}", code="GC010") from None
    deliver(report, REPORTERS, reports, show=show)
    if not settings().quiet:
        for said in unlike(parts):
            click.echo(f"note: {said}", err=True)
    summarise(report, None)
    return verdict_code(report.exit_code, exit_zero=exit_zero)

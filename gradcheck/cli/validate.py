"""`gradcheck validate`: every mistake of every file, without TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.errors import print_mistakes
from gradcheck.cli.terminal.options import Command, set_option, settings, terminal_options
from gradcheck.errors import ConfigErrors, ExitCode
from gradcheck.phrases import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.errors import Mistake


@click.command(cls=Command, examples=("gradcheck validate gradcheck.yaml", "gradcheck validate configs/"))
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(path_type=Path))
@set_option
@terminal_options
def validate(paths: Sequence[Path], overrides: Sequence[str]) -> int:
    """Check config files alone: every error at once, with line and column.

    Names and arguments of Keras are checked too. What another release of Keras, or your own code, may define is a
    warning.

    A PATH is a YAML file, or a folder: every *.yaml and *.yml below it that has a top-level `model:` key. Neither
    TensorFlow nor any user code is imported.
    """
    shown = settings()
    files, missing = _files(paths)
    print_mistakes(missing, color=shown.colored())
    counts = []
    for file in files:
        mistakes, warnings = _checked(file, overrides)
        print_mistakes(mistakes, color=shown.colored())
        print_mistakes(warnings, color=shown.colored(), label="warning")
        counts.append(len(mistakes))
    if counts and not shown.quiet:
        click.echo(summary(counts), err=True)
    return ExitCode.USAGE if missing or any(counts) else ExitCode.OK


def _files(paths: Sequence[Path]) -> tuple[list[Path], list[Mistake]]:
    """Return the files that `paths` name, each once, and the mistakes in the paths themselves."""
    from gradcheck.config import discover  # noqa: PLC0415 - pydantic is not needed for --help

    try:
        return discover(paths), []
    except ConfigErrors as error:
        wrong = {Path(mistake.file) for mistake in error.mistakes if mistake.file is not None}
        return discover(path for path in paths if path not in wrong), list(error.mistakes)


def _checked(file: Path, overrides: Sequence[str]) -> tuple[Sequence[Mistake], Sequence[Mistake]]:
    """Return every mistake in one file, or if it is valid what may be one."""
    from gradcheck.config import load_config  # noqa: PLC0415 - as above

    try:
        return (), load_config(file, overrides=overrides, require_split=True).warnings
    except ConfigErrors as error:
        return error.mistakes, ()


def summary(counts: Sequence[int]) -> str:
    """Return `3 files: 2 valid, 1 with 6 errors`, from the number of errors in each file."""
    wrong = [count for count in counts if count]
    total, errors = len(counts), sum(wrong)
    parts = [f"{total - len(wrong)} valid"] if len(wrong) < total else []
    parts += [f"{len(wrong)} with {plural(errors, 'error')}"] if wrong else []
    return f"{plural(total, 'file')}: {', '.join(parts)}"

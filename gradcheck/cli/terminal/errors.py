"""Errors as a person reads them: the message, the line with carets under the mistake, and what to do."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from gradcheck.reporters.parts.text import carets, inline, multiline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.errors import GradcheckError, Location, Mistake


def format_mistake(mistake: Mistake, color: bool) -> str:  # noqa: FBT001 - the one thing that a caller chooses
    """Several lines without a final break: `error[CODE]: message`, `--> file:line:column`, the line, `help: ...`.

    Characters that do not print are escaped, so that no key of a config can move the cursor or change colours.
    """

    def styled(text: str, foreground: str | None = None) -> str:
        return click.style(text, fg=foreground, bold=True) if color else text

    lines = [f"{styled(f'error[{mistake.code}]', 'red')}{styled(f': {multiline(mistake.message)}')}"]
    if mistake.location is not None:
        lines += _excerpt(mistake.location, color=color)
    if mistake.help is not None:
        lines.append(f"{styled('help', 'cyan')}: {multiline(mistake.help)}")
    return "\n".join(lines)


def _excerpt(location: Location, *, color: bool) -> list[str]:
    """Where it is: `--> place`, then the line with its number and carets below, if the line is known."""

    def styled(text: str, foreground: str) -> str:
        return click.style(text, fg=foreground, bold=True) if color else text

    number = str(location.line)
    margin = " " * len(number)
    lines = [f"{margin} {styled('-->', 'blue')} {inline(str(location))}"]
    if location.excerpt is not None:
        bar = styled("|", "blue")
        excerpt = location.excerpt.replace("\t", " ")  # one column each, as the column counts them
        text, below = carets(excerpt, location.column, location.length)
        mark = below.lstrip()
        lines += [
            f"{margin} {bar}",
            f"{styled(number, 'blue')} {bar} {text}".rstrip(),
            f"{margin} {bar} {below.removesuffix(mark)}{styled(mark, 'red')}",
        ]
    return lines


def print_error(error: GradcheckError, *, color: bool) -> None:
    """Every mistake of `error` to standard error, a blank line between them."""
    print_mistakes(error.mistakes, color=color)


def print_mistakes(mistakes: Iterable[Mistake], *, color: bool) -> None:
    """The mistakes to standard error, a blank line after each."""
    for mistake in mistakes:
        click.echo(format_mistake(mistake, color) + "\n", err=True, color=color)


def wants_color(choice: str, *, terminal: bool | None = None) -> bool:
    """Whether to colour: NO_COLOR wins, then `always` and `never`, then whether standard error is a terminal."""
    if os.environ.get("NO_COLOR"):
        return False
    if choice != "auto":
        return choice == "always"
    return sys.stderr.isatty() if terminal is None else terminal

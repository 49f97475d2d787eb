"""The text of errors: the message, the line with carets under the mistake, and what to do."""

from __future__ import annotations

import os
import sys
import traceback
from typing import TYPE_CHECKING

import click

from gradcheck.errors import GradcheckError, RunError, UsageError
from gradcheck.reporters.parts.errors import error_excerpt, error_place
from gradcheck.reporters.parts.text import multiline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.errors import ExitCode, Mistake


def format_mistake(mistake: Mistake, color: bool, label: str = "error") -> str:  # noqa: FBT001 - what a caller chooses
    """Return a mistake as lines: `error[CODE]: message`, `--> file:line:column`, the source line, `help: ...`.

    Characters that do not print are escaped, so that no key of a config can move the cursor or change colours.
    """

    def styled(text: str, foreground: str | None = None) -> str:
        return click.style(text, fg=foreground, bold=True) if color else text

    head = styled(f"{label}[{mistake.code}]", "red" if label == "error" else "yellow")
    lines = [f"{head}{styled(f': {multiline(mistake.message)}')}"]
    number = "" if mistake.line is None else str(mistake.line)
    margin, bar = " " * len(number), styled("|", "blue")
    if mistake.file is not None:
        lines.append(f"{margin} {styled('-->', 'blue')} {error_place(mistake)}")
    if mistake.excerpt is not None:
        text, below = error_excerpt(mistake, tab=1)  # a tab is one column wide, as in `mistake.column`
        carets = below.lstrip()
        lines += [
            f"{margin} {bar}",
            f"{styled(number, 'blue')} {bar} {text}".rstrip(),
            f"{margin} {bar} {' ' * (len(below) - len(carets))}{styled(carets, 'red')}",
        ]
    if mistake.help is not None:
        lines.append(f"{styled('help', 'cyan')}: {multiline(mistake.help)}")
    return "\n".join(lines)


def print_error(error: GradcheckError, *, color: bool) -> None:
    """Print every mistake of `error` to standard error, each followed by a blank line."""
    print_mistakes(error.mistakes, color=color)


def print_failure(error: BaseException, *, color: bool, verbose: bool) -> ExitCode:
    """Print every mistake of `error` to standard error, and if `verbose` its traceback; return its exit code."""
    known = _known(error)
    print_error(known, color=color)
    if verbose:
        click.echo(traceback_text(error), err=True)
    return known.exit_code


def _known(error: BaseException) -> GradcheckError:
    """Return the error to print: `error` itself if it is ours, a usage error, or an unexpected one."""
    if isinstance(error, GradcheckError):
        return error
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "gradcheck"
        return UsageError(error.format_message(), code="GC010", help=f"`{command} --help` lists what there is")
    message = " ".join(f"{type(error).__name__}: {error}".split())
    return RunError(message, help="-v shows where; please report it if it is not your own code")


def print_mistakes(mistakes: Iterable[Mistake], *, color: bool, label: str = "error") -> None:
    """Print the mistakes to standard error, each followed by a blank line."""
    for mistake in mistakes:
        click.echo(format_mistake(mistake, color, label) + "\n", err=True, color=color)


def traceback_text(error: BaseException) -> str:
    """The traceback of `error`, which may quote whatever user code says, in characters that print."""
    return multiline("".join(traceback.format_exception(error)))


def wants_color(choice: str, *, terminal: bool | None = None) -> bool:
    """Whether to colour: NO_COLOR decides first, then `always` or `never`, then whether the stream is a terminal.

    Args:
        choice: the value of `--color`.
        terminal: whether the stream is a terminal; None for standard error.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if choice != "auto":
        return choice == "always"
    return sys.stderr.isatty() if terminal is None else terminal

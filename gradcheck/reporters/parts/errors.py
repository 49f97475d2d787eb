"""Text of errors: complete, and in parts that each format arranges itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reporters.parts.text import carets, inline, lines

if TYPE_CHECKING:
    from gradcheck.errors import Mistake


def error_line(error: Mistake) -> str:
    """Return `error[CODE]: message` on one line."""
    return f"error[{error.code}]: {inline(error.message)}"


def error_place(error: Mistake) -> str | None:
    """Return `file:line:column` as far as known; None if the file is not."""
    parts = [error.file, error.line, error.column]
    known = parts[: parts.index(None)] if None in parts else parts
    return inline(":".join(map(str, known))) or None


def error_lines(error: Mistake) -> list[str]:
    """Return the complete error: message, place, source line with carets, and help."""
    place = error_place(error)
    return [
        *lines(f"error[{error.code}]: {error.message}"),
        *([f"  --> {place}"] if place else []),
        *(f"    {line}" for line in error_excerpt(error)),
        *(lines(f"help: {error.help}") if error.help else []),
    ]


def error_excerpt(error: Mistake, room: int | None = None, tab: int = 4) -> list[str]:
    """Return the source line of the mistake and carets under it; an empty list if the line is not known."""
    return [] if error.excerpt is None else carets(error.excerpt, error.column or 1, error.length, room, tab)

"""What a code stands for, in words that hold without the report they appear in."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One code of the catalogue.

    Args:
        code: `GC` and three digits.
        title: a few words, as reports show them.
        explanation: what it is and how it shows. Names of code stand in backticks; there is no other markup.
        causes: what usually leads to it, one phrase each.
        fix: what to do, in a sentence or two.
        example: correct TensorFlow code, where code is the fix.
    """

    code: str
    title: str
    explanation: str
    causes: tuple[str, ...] = ()
    fix: str
    example: str | None = None


def code(text: str) -> str:
    """`text` without its common indentation and the empty lines around it."""
    return textwrap.dedent(text).strip("\n")

"""What a reporter is: a function from a report and a few options to text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gradcheck.results.report import Report

Show = Literal["all", "failed", "summary"]


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How much is shown, and for what kind of screen.

    Args:
        show: every tensor, the failing ones only, or none.
        width: columns of the terminal; None where the text goes to a file or a pipe: nothing is shortened or wrapped.
        color: whether ANSI colour may be used (formats for machines never do).
        verbose: also what is left out for brevity, such as versions and every segment.
    """

    show: Show = "all"
    width: int | None = None
    color: bool = False
    verbose: bool = False


#: The text has no trailing line break. Names and messages come from users: each format shows them literally.
Reporter: TypeAlias = Callable[[Report, RenderOptions], str]

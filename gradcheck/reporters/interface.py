"""The interface of a reporter: a function from a report and rendering options to text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import Report

Show = Literal["all", "failed", "summary"]


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """How much of a report is shown, and for which kind of screen.

    Attributes:
        show: all tensors, only those that fail, or none.
        width: the columns of the terminal; None for a file or a pipe, where nothing is shortened or wrapped.
        color: whether ANSI colours may be used; formats for machines never use them.
        verbose: whether to show details such as versions and every segment.
        most: how many failing tensors of each check the concise format lists; None for all.
    """

    show: Show = "all"
    width: int | None = None
    color: bool = False
    verbose: bool = False
    most: int | None = None


#: Returns text without a final line break. Names and messages come from users: each format escapes them.
Reporter: TypeAlias = "Callable[[Report, RenderOptions], str]"

"""The columns of the table: a choice that fits the width, and one line of text for each tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.text import cosine, inline, number, shape, shorten, ulps
from gradcheck.reporters.parts.training import step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.results.report import TensorReport

GAP = 2


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of a tensor. If space is short, columns with a higher `rank` are left out first; rank 0 stays."""

    title: str
    cell: Callable[[TensorReport], str]
    rank: int
    right: bool = True


PATH = Column(title="tensor", cell=lambda t: inline(t.path), rank=0, right=False)
STATUS = Column(title="status", cell=status_label, rank=0, right=False)
COLUMNS = (
    PATH,
    Column(title="step", cell=step, rank=0, right=False),
    Column(title="kind", cell=lambda t: t.kind, rank=4, right=False),
    STATUS,
    Column(title="shape", cell=lambda t: shape(t.shape), rank=5, right=False),
    Column(title="dtype", cell=lambda t: inline(t.dtype), rank=8, right=False),
    Column(title="max abs", cell=lambda t: number(t.max_abs_error), rank=2),
    Column(title="max rel", cell=lambda t: number(t.max_rel_error), rank=0),
    Column(title="ULP", cell=lambda t: ulps(t.max_ulp_error), rank=6),
    Column(title="cosine", cell=lambda t: cosine(t.cosine), rank=7),
    Column(title="noise floor", cell=lambda t: number(t.noise_floor), rank=1),
    Column(title="needs rtol", cell=lambda t: number(t.required.rtol), rank=3),
    Column(title="lines", cell=lambda t: inline(" ".join(t.lines)) or "-", rank=1, right=False),
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The chosen columns with their widths."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]

    @classmethod
    def of(cls, tensors: Sequence[TensorReport], available: int | None) -> Layout:
        """Return the columns that have a value for some tensor, as many as fit.

        Numbers are never shortened: columns are left out instead, and then long paths are shortened in the middle. With
        `available` None every column stays.
        """
        natural = {c: max(cell_len(text) for text in (c.title, *map(c.cell, tensors))) for c in COLUMNS}
        columns = [c for c in COLUMNS if any(c.cell(tensor) != "-" for tensor in tensors)]
        if available is not None:
            wanted_path = min(natural[PATH], available * 2 // 3)
            while _total(columns, natural) - natural[PATH] + wanted_path > available and any(c.rank for c in columns):
                columns.remove(max(columns, key=lambda c: c.rank))
            natural[PATH] = max(3, min(natural[PATH], available - (_total(columns, natural) - natural[PATH])))
        return cls(columns=tuple(columns), widths=tuple(natural[c] for c in columns))

    @property
    def header(self) -> str:
        """The titles, aligned like the cells."""
        return (" " * GAP).join(_fit(c.title, c, width) for c, width in zip(self.columns, self.widths, strict=True))

    def row(self, tensor: TensorReport) -> tuple[str, str, str]:
        """Return the line of `tensor` in three pieces, of which the middle one is its status."""
        cells = [_fit(c.cell(tensor), c, width) for c, width in zip(self.columns, self.widths, strict=True)]
        place, gap = self.columns.index(STATUS), " " * GAP
        return gap.join(cells[:place]) + gap, cells[place], gap + gap.join(cells[place + 1 :])


def _fit(text: str, column: Column, width: int) -> str:
    """Return `text` padded to the width of the column, or shortened to it."""
    text = shorten(text, width, cell_len)
    padding = " " * (width - cell_len(text))
    return padding + text if column.right else text + padding


def _total(columns: Sequence[Column], widths: dict[Column, int]) -> int:
    return sum(widths[c] for c in columns) + GAP * (len(columns) - 1)

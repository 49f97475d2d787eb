"""The columns of the table: a choice that fits the width, and one line of text for each tensor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich.cells import cell_len

from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.text import cosine, index, inline, number, pair, shape, shorten, ulps
from gradcheck.reporters.parts.training import step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.results.report import Sides, TensorReport

GAP = 2
_DIGITS = 6  # of the worst element's values: as many as tell them apart, where that is more


@dataclass(frozen=True, kw_only=True)
class Column:
    """One figure of a tensor. If space is short, columns with a higher `rank` are left out first; rank 0 stays."""

    title: str
    cell: Callable[[TensorReport], str]
    rank: int
    right: bool = True


PATH = Column(title="tensor", cell=lambda t: inline(t.path), rank=0, right=False)
STATUS = Column(title="status", cell=status_label, rank=0, right=False)
LINES = Column(title="lines", cell=lambda t: inline(" ".join(t.lines)) or "-", rank=2, right=False)
COLUMNS = (
    PATH,
    Column(title="step", cell=step, rank=0, right=False),
    Column(title="kind", cell=lambda t: t.kind, rank=5, right=False),
    STATUS,
    Column(title="shape", cell=lambda t: shape(t.shape), rank=6, right=False),
    Column(title="dtype", cell=lambda t: inline(t.dtype), rank=9, right=False),
    Column(title="max abs", cell=lambda t: number(t.max_abs_error), rank=3),
    Column(title="max rel", cell=lambda t: number(t.max_rel_error), rank=0),
    Column(title="ULP", cell=lambda t: ulps(t.max_ulp_error), rank=7),
    Column(title="cosine", cell=lambda t: cosine(t.cosine), rank=8),
    Column(title="noise floor", cell=lambda t: number(t.noise_floor), rank=1),
    Column(title="needs rtol", cell=lambda t: number(t.required.rtol), rank=4),
    LINES,
)


def _worst_columns(tensors: Sequence[TensorReport], sides: Sides) -> tuple[Column, ...]:
    """Return the columns of the worst element of wrong tensors: where it is, and what each side has there.

    None if the sides have another name for one of these tensors.
    """
    if any(tensor.differs and sides.of(tensor.kind) != sides[:2] for tensor in tensors):
        return ()

    def value(side: int) -> Callable[[TensorReport], str]:
        return lambda t: pair(t.worst.reference, t.worst.candidate, _DIGITS)[side] if t.differs and t.worst else "-"

    return (
        Column(title="worst", cell=lambda t: index(t.worst.index) if t.differs and t.worst else "-", rank=1),
        *(Column(title=name, cell=value(side), rank=1) for side, name in enumerate(sides[:2])),
    )


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The chosen columns with their widths; `worst` is whether the worst element has columns."""

    columns: tuple[Column, ...]
    widths: tuple[int, ...]
    worst: bool = False

    @classmethod
    def of(cls, tensors: Sequence[TensorReport], available: int | None, sides: Sides | None) -> Layout:
        """Return the columns that have a value for some tensor, as many as fit.

        Numbers are never shortened: columns are left out instead, and then long paths have a line of their own. With
        `available` None all stay. On a terminal that is wide enough the worst element has columns, named by `sides`.
        """
        worst = _worst_columns(tensors, sides) if available is not None and sides else ()
        layout = cls._fitted((*COLUMNS, *worst), tensors, available)
        if worst and set(worst) <= set(layout.columns):
            return replace(layout, worst=True)
        return cls._fitted(COLUMNS, tensors, available) if worst else layout

    @classmethod
    def _fitted(cls, every: Sequence[Column], tensors: Sequence[TensorReport], available: int | None) -> Layout:
        natural = {c: max(cell_len(text) for text in (c.title, *map(c.cell, tensors))) for c in every}
        columns = [c for c in every if any(c.cell(tensor) != "-" for tensor in tensors)]
        if available is not None:
            wanted_path = min(natural[PATH], available * 2 // 3)
            while _total(columns, natural) - natural[PATH] + wanted_path > available and any(c.rank for c in columns):
                columns.remove(max(columns, key=lambda c: c.rank))
            natural[PATH] = max(3, min(natural[PATH], available - (_total(columns, natural) - natural[PATH])))
        return cls(columns=tuple(columns), widths=tuple(natural[c] for c in columns))

    def is_long(self, tensor: TensorReport) -> bool:
        """Whether the path does not fit its column."""
        return cell_len(PATH.cell(tensor)) > self.widths[self.columns.index(PATH)]

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

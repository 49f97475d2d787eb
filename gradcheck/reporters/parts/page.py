"""A page of styled lines, wrapped to the width of a terminal, or not wrapped without a width."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradcheck.reporters.parts.text import lines, shorten

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Plain text, or text with a rich style. Never markup: brackets in names stay brackets.
Part: TypeAlias = str | tuple[str, str]

_NARROWEST = 40
_UNLIMITED = 1_000_000  # in a pipe rich truncates at 80 columns unless a width is set


class Page:
    """Collects lines; `text` joins them with or without ANSI colours, without trailing spaces."""

    def __init__(self, width: int | None, *, color: bool) -> None:
        self.width = None if width is None else max(width, _NARROWEST)
        self._lines: list[Text] = []
        self._console = Console(
            file=io.StringIO(),
            width=self.width or _UNLIMITED,
            force_terminal=color,
            force_jupyter=False,
            color_system="standard" if color else None,
            no_color=not color,
            legacy_windows=False,
            soft_wrap=True,
            markup=False,
            highlight=False,
            emoji=False,
        )

    def line(self, *parts: Part, indent: int = 0) -> None:
        """Add one line as it is, which the caller has fitted to the width; without parts, an empty line."""
        self._add(Text.assemble(*parts), indent)

    def heading(self, title: str, style: str = "", *, indent: int) -> None:
        """Add one line, shortened in the middle if it does not fit."""
        room = cell_len(title) if self.width is None else self.width - indent
        self.line((shorten(title, room, cell_len), style), indent=indent)

    def paragraph(self, *parts: Part, indent: int = 0, hanging: int = 2) -> None:
        """Add text wrapped to the width; lines after the first are indented by `hanging` columns more."""
        text = Text.assemble(*parts)
        wrapped = [text] if self.width is None else text.wrap(self._console, self.width - indent - hanging)
        for place, line in enumerate(wrapped):
            self._add(line, indent + (hanging if place else 0))

    def block(self, label: Part, text: str, *, indent: int) -> None:
        """Add `label: text`; further lines of the text are indented by two columns more."""
        first, *rest = lines(text)
        self.paragraph(label, f": {first}", indent=indent)
        for line in rest:
            self.paragraph(line, indent=indent + 2)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Part]], *, right: frozenset[int], indent: int) -> None:
        """Add a table without lines. Cells that do not fit the width are wrapped, never cut.

        `right` are the columns that are aligned to the right.
        """
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for index, title in enumerate(head):
            table.add_column(title, justify="right" if index in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text.assemble(cell) for cell in row))
        options = self._console.options.update(width=(self.width or _UNLIMITED) - indent, no_wrap=False)
        for line in self._console.render_lines(table, options, pad=False):
            self._add(Text.assemble(*((text, style or "") for text, style, _ in line)), indent)

    def text(self) -> str:
        """Return all lines, joined by line breaks."""
        with self._console.capture() as capture:
            self._console.print(Text("\n").join(self._lines))
        return capture.get().rstrip("\n")

    def _add(self, line: Text, indent: int) -> None:
        line.rstrip()
        self._lines.append(Text(" " * indent).append_text(line) if line else line)

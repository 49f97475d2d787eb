"""A page of styled lines for a terminal of some width, or of no width: then nothing is wrapped."""

from __future__ import annotations

import io
from typing import TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from gradcheck.reporters.parts.text import lines, shorten

#: Plain text, or text with a rich style. Never markup: brackets in names stay brackets.
Part: TypeAlias = str | tuple[str, str]

_NARROWEST = 40
_UNLIMITED = 1_000_000  # rich cuts at 80 columns in a pipe unless it is told a width


class Page:
    """Collects lines; `text` gives them with or without ANSI colour, without trailing spaces."""

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
        """One line as it is: the caller has made it fit. Without parts: an empty line."""
        self._add(Text.assemble(*parts), indent)

    def heading(self, title: str, style: str = "", *, indent: int) -> None:
        """One line that loses its middle where it does not fit."""
        room = cell_len(title) if self.width is None else self.width - indent
        self.line((shorten(title, room, cell_len), style), indent=indent)

    def paragraph(self, *parts: Part, indent: int = 0, hanging: int = 2) -> None:
        """Prose, wrapped to the width; the lines after the first stand `hanging` columns further in."""
        text = Text.assemble(*parts)
        wrapped = [text] if self.width is None else text.wrap(self._console, self.width - indent - hanging)
        for place, line in enumerate(wrapped):
            self._add(line, indent + (hanging if place else 0))

    def block(self, label: Part, text: str, *, indent: int) -> None:
        """`label: text`; the further lines of a text of several lines stand two columns further in."""
        first, *rest = lines(text)
        self.paragraph(label, f": {first}", indent=indent)
        for line in rest:
            self.paragraph(line, indent=indent + 2)

    def text(self) -> str:
        """Every line so far, joined by line breaks."""
        with self._console.capture() as capture:
            self._console.print(Text("\n").join(self._lines))
        return capture.get().rstrip("\n")

    def _add(self, line: Text, indent: int) -> None:
        line.rstrip()
        self._lines.append(Text(" " * indent).append_text(line) if line else line)

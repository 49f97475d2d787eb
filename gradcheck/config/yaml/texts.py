"""The source texts of a config (its file and each command-line option), and locations in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck.errors import Location

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

#: The line breaks of PyYAML, so that line numbers agree with its marks.
_LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class SourceText:
    """A text as the user wrote it.

    Attributes:
        path: the file, or the option such as `--set`.
        text: the whole text.
        offset: the column in the first line at which the YAML begins.
    """

    path: Path
    text: str
    offset: int = 0

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their line breaks."""
        return tuple(_LINE_BREAK.split(self.text))

    def at(self, line: int, column: int, length: int = 1) -> Location:
        """Return the location of `length` characters; `line` and `column` count from 0, as in PyYAML's marks."""
        excerpt = self.lines[min(line, len(self.lines) - 1)]
        shifted = column + (self.offset if line == 0 else 0)
        start = min(shifted, len(excerpt))
        return Location(
            path=self.path,
            line=line + 1,
            column=start + 1,
            length=max(1, min(length, len(excerpt) - start)),
            excerpt=excerpt,
        )

    def of_mark(self, mark: yaml.Mark) -> Location:
        """Return the location of the character at a mark."""
        return self.at(mark.line, mark.column)

    def of_node(self, node: yaml.Node) -> Location:
        """Return the location of a node's text, or of its first line if it has several."""
        start, end = node.start_mark, node.end_mark
        rest = self.at(start.line, start.column, len(self.text))
        if end.line == start.line:
            return self.at(start.line, start.column, end.column - start.column)
        written = re.sub(r"\s+#.*$", "", (rest.excerpt or "")[rest.column - 1 :]).rstrip()
        return self.at(start.line, start.column, len(written))

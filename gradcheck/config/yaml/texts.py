"""Texts that a config comes from, the file and each command-line option, and places in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck.errors import Location

if TYPE_CHECKING:
    from pathlib import Path

    import yaml

#: What PyYAML counts as the end of a line.
_LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class SourceText:
    """A text as the user wrote it. YAML in it begins `offset` characters into the first line.

    `path` is the file, or a stand-in such as `--set`.
    """

    path: Path
    text: str
    offset: int = 0

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their breaks."""
        return tuple(_LINE_BREAK.split(self.text))

    def at(self, line: int, column: int, length: int = 1) -> Location:
        """The location of `length` characters; `line` and `column` count from 0, as PyYAML's marks do."""
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
        """The character at a mark."""
        return self.at(mark.line, mark.column)

    def of_node(self, node: yaml.Node) -> Location:
        """What a node was written as, or its first line where it goes over several."""
        start, end = node.start_mark, node.end_mark
        rest = self.at(start.line, start.column, len(self.text))
        if end.line == start.line:
            return self.at(start.line, start.column, end.column - start.column)
        written = re.sub(r"\s+#.*$", "", (rest.excerpt or "")[rest.column - 1 :]).rstrip()
        return self.at(start.line, start.column, len(written))

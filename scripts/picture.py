"""The picture of a report in the README: the example's real output, drawn by rich. Writes docs/images/run.svg."""

from __future__ import annotations

import io
import os
import re
import sys
import tempfile
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from gradcheck.results.report import Report

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "run.svg"
COMMAND = "gradcheck run step.yaml --show failed"
FILES = ("step.py", "step.yaml")
_WIDTH = 124
#: What names another host: fonts that a browser would load (local ones stand beside them), and rich's own comment.
_ELSEWHERE = re.compile(r"\s*@font-face \{.*?\}|<!--.*?-->", re.DOTALL)


def example(folder: Path) -> Report:
    """Write the README's example to `folder`, go there and return its report."""
    from gradcheck import check

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in FILES:
        found = re.search(rf"^```\w+\n(# {re.escape(name)}\n.*?)^```", readme, re.MULTILINE | re.DOTALL)
        if found is None:
            raise ValueError(f"README.md shows no file {name}")
        (folder / name).write_text(found[1], encoding="utf-8")
    os.chdir(folder)
    return check("step.yaml")


def drawn(report: Report) -> str:
    """Return the table of the report as a terminal shows it, as SVG that needs no file from elsewhere."""
    from gradcheck.reporters import REPORTERS, RenderOptions

    table = REPORTERS["table"](report, RenderOptions(show="failed", width=_WIDTH, color=True))
    console = Console(record=True, width=_WIDTH, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text(f"$ {COMMAND}", style="bold"))
    console.print(Text.from_ansi(table))
    svg = console.export_svg(title="gradcheck", unique_id="run")
    return "\n".join(line.rstrip() for line in _ELSEWHERE.sub("", svg).splitlines()) + "\n"


def words(svg: str) -> list[str]:
    """Return the lines of text in a picture."""
    return [unescape(text).replace("\xa0", " ").strip() for text in re.findall(r"<text [^>]*>([^<]*)</text>", svg)]


def main() -> None:
    """Draw the picture anew."""
    with tempfile.TemporaryDirectory() as folder:
        svg = drawn(example(Path(folder)))
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

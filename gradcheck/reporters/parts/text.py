"""How single values are written: safe names, numbers, shapes, sizes. Every format uses these."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING

from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: A line that GitHub takes for a command to the runner, wherever it is printed.
_COMMAND = re.compile(r"^(\s*)::")
_LARGEST_PLAIN_ULP = 10_000
_KIB = 1024


def inline(text: str) -> str:
    r"""`text` on one line, every character that does not print as its escape (a line break as `\n`, ESC as `\x1b`).

    So no name can move the cursor, change colours, break a line, be invalid XML or not be encodable.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def lines(text: str) -> list[str]:
    """`text` line by line, each line safe as with `inline` and no command to GitHub's runner; tabs become spaces."""
    parts = text.replace("\r\n", "\n").strip("\n").split("\n")
    return [_line(part) for part in parts]


def _line(text: str, tab: int = 4) -> str:
    return _COMMAND.sub(r"\1\\x3a\\x3a", inline(text.expandtabs(tab)))


def multiline(text: str) -> str:
    """`text` with its line breaks, each line safe as with `inline`."""
    return "\n".join(lines(text))


def printable_json(text: str) -> str:
    """Return JSON with every character that does not print as its escape, which says the same to a program."""
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def carets(excerpt: str, column: int, length: int, room: int | None = None, tab: int = 4) -> list[str]:
    """A source line, and below it carets under `length` characters from `column` (from 1) on.

    Where there is `room` for some columns only, the line is cut so that the mistake stays in sight.
    """
    line = _line(excerpt, tab)
    start = len(_line(excerpt[: column - 1], tab))
    count = max(1, min(length, len(line) - start, room or length))
    cut = max(0, start + count - room) if room else 0
    return [line[cut:][:room], " " * (start - cut) + "^" * count]


def number(value: float | None) -> str:
    """Three significant digits: `1.23e-08`, `3e-08`, 0 as `0`, and `-` where there is no number."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    if math.isinf(value):
        return str(value)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def ulps(value: float) -> str:
    """A distance in units in the last place: a plain count while it is short."""
    return f"{value:.0f}" if 0 < value < _LARGEST_PLAIN_ULP and value.is_integer() else number(value)


def cosine(value: float) -> str:
    """A cosine with six decimals, without trailing zeros."""
    return "-" if math.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")


def plain_number(value: float) -> str:
    """A loss or a norm: six significant digits."""
    return "-" if math.isnan(value) else f"{value:.6g}"


def pair(reference: float, candidate: float) -> tuple[str, str]:
    """Two values with enough digits (9, or else 17) to tell them apart."""
    nine = f"{reference:.9g}", f"{candidate:.9g}"
    return nine if nine[0] != nine[1] else (f"{reference:.17g}", f"{candidate:.17g}")


def seconds(value: float) -> str:
    """A duration: `12.3s`, or `-` where it was not measured."""
    return "-" if math.isnan(value) else f"{value:.3g}s"


def size(count: int) -> str:
    """Bytes in binary units: `512 B`, `1.5 MiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.4g} {unit}"


def shape(axes: Sequence[int]) -> str:
    """A shape without spaces: `(3,10,10,1)`, a scalar as `()`."""
    return f"({','.join(map(str, axes))})"


def index(axes: Sequence[int]) -> str:
    """The place of an element: `[0,0,0,3]`."""
    return f"[{','.join(map(str, axes))}]"


def named(names: Sequence[str], *, most: int = 10) -> str:
    """Names in a sentence, safe as with `inline`, those above `most` as a count."""
    return inline(some(names, most))


def shorten(text: str, width: int, measure: Callable[[str], int] = len) -> str:
    """`text` in at most `width` columns: the middle goes, since paths differ at their ends."""
    if measure(text) <= width:
        return text
    cuts = (text[: keep // 2] + "..." + text[len(text) - (keep - keep // 2) :] for keep in range(width - 3, -1, -1))
    return next((cut for cut in cuts if measure(cut) <= width), "...")

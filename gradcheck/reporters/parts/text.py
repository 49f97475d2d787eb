"""Text of single values for every format: safe names, numbers, shapes, sizes."""

from __future__ import annotations

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
    r"""Return `text` on one line with unprintable characters escaped: a line break becomes `\n`, ESC becomes `\x1b`.

    So no name can move the cursor, change colours, break a line, make XML invalid or fail to encode.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def lines(text: str) -> list[str]:
    """Return the lines of `text`, each safe as by `inline` and no command to GitHub's runner; tabs become spaces."""
    parts = text.replace("\r\n", "\n").strip("\n").split("\n")
    return [_line(part) for part in parts]


def _line(text: str, tab: int = 4) -> str:
    return _COMMAND.sub(r"\1\\x3a\\x3a", inline(text.expandtabs(tab)))


def multiline(text: str) -> str:
    """Return `text` with its line breaks, each line made safe as by `inline`."""
    return "\n".join(lines(text))


def carets(excerpt: str, column: int, length: int, room: int | None = None, tab: int = 4) -> list[str]:
    """Return a source line, and below it carets under `length` characters from `column` on, which counts from 1.

    With `room`, a number of columns, the line is cut so that the marked part stays visible.
    """
    line = _line(excerpt, tab)
    start = len(_line(excerpt[: column - 1], tab))
    count = max(1, min(length, len(line) - start, room or length))
    cut = max(0, start + count - room) if room else 0
    return [line[cut:][:room], " " * (start - cut) + "^" * count]


def number(value: float | None) -> str:
    """Return three significant digits: `1.23e-08`, `3e-08`, `0` for 0, and `-` for None or NaN."""
    if value is None or math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    if math.isinf(value):
        return str(value)
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def ulps(value: float) -> str:
    """Return a distance in units in the last place, as a plain count if it is short."""
    return f"{value:.0f}" if 0 < value < _LARGEST_PLAIN_ULP and value.is_integer() else number(value)


def cosine(value: float) -> str:
    """Return a cosine with six decimals, without trailing zeros."""
    return "-" if math.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")


def plain_number(value: float) -> str:
    """Return a loss or a norm with six significant digits."""
    return "-" if math.isnan(value) else f"{value:.6g}"


def pair(reference: float, candidate: float, digits: int = 9) -> tuple[str, str]:
    """Return two values with enough digits to tell them apart: `digits`, otherwise 9, otherwise 17."""
    written = [(f"{reference:.{count}g}", f"{candidate:.{count}g}") for count in (digits, 9, 17)]
    return next((both for both in written if both[0] != both[1]), written[-1])


def seconds(value: float) -> str:
    """Return a duration, such as `12.3s`; `-` if it was not measured."""
    return "-" if math.isnan(value) else f"{value:.3g}s"


def size(count: int) -> str:
    """Return a number of bytes in binary units: `512 B`, `1.5 MiB`."""
    value, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:.4g} {unit}"


def shape(axes: Sequence[int]) -> str:
    """Return a shape without spaces: `(3,10,10,1)`, `()` for a scalar."""
    return f"({','.join(map(str, axes))})"


def index(axes: Sequence[int]) -> str:
    """Return the index of an element: `[0,0,0,3]`."""
    return f"[{','.join(map(str, axes))}]"


def named(names: Sequence[str], *, most: int = 10) -> str:
    """Return at most `most` names and the number of the others, made safe as by `inline`."""
    return inline(some(names, most))


def shorten(text: str, width: int, measure: Callable[[str], int] = len) -> str:
    """Return `text` in at most `width` columns. The middle is cut: paths differ at their ends."""
    if measure(text) <= width:
        return text
    cuts = (text[: keep // 2] + "..." + text[len(text) - (keep - keep // 2) :] for keep in range(width - 3, -1, -1))
    return next((cut for cut in cuts if measure(cut) <= width), "...")

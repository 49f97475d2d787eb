"""The verdict of each method in a small table, and the error of each layer as a row of bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.selection import grouped
from gradcheck.reporters.parts.text import inline
from gradcheck.reporters.parts.worst import largest_error, open_reasons
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from gradcheck.reporters.parts.page import Page
    from gradcheck.results.report import CheckReport, Kind, RunReport, TensorReport

HEAD = ("method", "verdict", "weights match", "max rel", "error by layer", "codes")
_RIGHT = frozenset({2, 3})
#: The kinds of tensors that a layer's bar shows: all but those of the run as a whole.
_OF_LAYERS: tuple[Kind, ...] = ("weight", "boundary", "jacobian", "input", "output")
_BARS = "▂▃▄▅▆▇█"
EQUAL, UNPROVEN, NO_NUMBER = "▁", "·", "!"
_MOST_BARS = 24


def add_verdicts(page: Page, run: RunReport, *, indent: int) -> None:
    """Add a row for each method of the run; nothing for a run without any."""
    if run.checks:
        most = _MOST_BARS if page.width is None else max(4, min(_MOST_BARS, page.width - 66))
        rows = [_row(check, run, most) for check in run.checks]
        page.table(HEAD, rows, right=_RIGHT, indent=indent)


def _row(check: CheckReport, run: RunReport, most: int) -> tuple[str | tuple[str, str], ...]:
    word, tone = words.outcome(check)
    proven, total = words.weight_counts(check, run.coverage.trainable)
    codes = [check.error.code] if check.error else [*(found.code for found in check.diagnoses), *open_reasons(check)]
    return (
        inline(check.method),
        (word, words.STYLES[tone]),
        f"{proven} of {total}" if total and not check.error else "-",
        "-" if words.proves_nothing(check) else largest_error(check),
        (bars(check, most), words.STYLES[tone]),
        " ".join(dict.fromkeys(codes)),
    )


def bars(check: CheckReport, most: int) -> str:
    """Return a character for each layer, in forward order: how far its worst tensor is off.

    `▂` is up to 1e-6 of the tensor's size, each higher bar ten times as much, and `█` more than 0.1. Of more than
    `most` layers neighbours share a character, that of the worst.
    """
    layers: dict[str, int] = {}
    for group in grouped(check.of_kind(*_OF_LAYERS), ()):  # a check lists them in the order of the backward pass
        for tensor in group.tensors:
            layers[tensor.layer] = max(layers.get(tensor.layer, 0), _height(tensor))
    heights, count = list(layers.values()), min(most, len(layers))
    groups = (heights[i * len(heights) // count : (i + 1) * len(heights) // count] for i in range(count))
    return "".join(_HEIGHTS[max(group)] for group in groups)


#: The characters by height: first what proves nothing, last what has no number.
_HEIGHTS = UNPROVEN + EQUAL + _BARS + NO_NUMBER


def _height(tensor: TensorReport) -> int:
    if not tensor.differs:
        return int(tensor.status in PROVEN)
    if not math.isfinite(tensor.max_rel_error):
        return len(_HEIGHTS) - 1
    decades = math.ceil(math.log10(tensor.max_rel_error)) if tensor.max_rel_error > 0 else -len(_BARS)
    return _HEIGHTS.index(_BARS[max(0, min(len(_BARS) - 1, len(_BARS) - 1 + decades))])

"""The tensor that is furthest off, past what rounding explains, and why nothing decides about others."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.text import inline, named, number
from gradcheck.results.report import PROVEN
from gradcheck.results.tensor import NOISE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.report import CheckReport, TensorReport

WITHIN_ROUNDING = "within rounding"
#: A code and its reason at the head of a note, without the figures behind it.
_REASON = re.compile(r"\b(GC\d{3}): ([^,;(]*[^,;(\s])")


def worst_tensor(tensors: Sequence[TensorReport]) -> TensorReport | None:
    """Return the tensor with the largest relative error that is more than rounding; None if none has such a figure.

    If some tensors fail it is one of them, otherwise one that is proven equal. Last come those whose reference is
    itself below what can be told from zero: relative to that, any error is large.
    """
    proven = [t for t in tensors if t.status in PROVEN and not t.within_rounding]
    figures = [t for t in [t for t in tensors if t.failed] or proven if not math.isnan(t.max_rel_error)]
    return max(figures, key=lambda t: (not _is_noise(t), t.max_rel_error), default=None)


def _is_noise(tensor: TensorReport) -> bool:
    """Whether the reference is smaller than its own noise, or than the absolute tolerance that the error is within."""
    least = max(NOISE_FACTOR * (tensor.noise_floor or 0.0), tensor.atol if tensor.allclose else 0.0)
    return 0 < tensor.max_abs_reference <= least


def only_rounding(tensors: Sequence[TensorReport]) -> bool:
    """Whether some of `tensors` differ, and by rounding alone."""
    worst = worst_tensor(tensors)
    wrong = any(tensor.failed for tensor in tensors) or bool(worst and worst.max_rel_error)
    return not wrong and any(tensor.within_rounding for tensor in tensors)


def worst_words(tensors: Sequence[TensorReport]) -> str:
    """Return ` (worst: a/kernel, max rel 3e-08)`, ` bit for bit`, ` within rounding`, or "" without any figure."""
    worst = worst_tensor(tensors)
    if only_rounding(tensors):
        return f" {WITHIN_ROUNDING}"
    if worst is None:
        return ""
    if worst.max_rel_error == 0:
        return " bit for bit"
    rounding = list(dict.fromkeys(tensor.path for tensor in tensors if tensor.within_rounding))
    apart = f"; {WITHIN_ROUNDING}: {named(rounding, most=3)}" if rounding else ""
    return f" (worst: {inline(worst.path)}, max rel {number(worst.max_rel_error)}{apart})"


def largest_error(check: CheckReport) -> str:
    """Return the relative error of the worst tensor, `rounding` if only that differs, or `-`."""
    if only_rounding(check.tensors):
        return "rounding"
    worst = worst_tensor(check.tensors)
    return number(worst.max_rel_error) if worst else "-"


def undecided(check: CheckReport) -> tuple[TensorReport, ...]:
    """Return the tensors about which nothing is decided."""
    return tuple(tensor for tensor in check.tensors if tensor.status == "inconclusive")


def open_reasons(check: CheckReport) -> dict[str, str]:
    """Return why an inconclusive check decides nothing, by code: `{"GC802": "at a kink"}`; one reason for each code."""
    if check.outcome != "inconclusive":
        return {}
    notes = [tensor.note or "" for tensor in undecided(check)] or check.notes
    found = [reason.groups() for note in notes for reason in _REASON.finditer(note)]
    return dict(sorted((code, inline(said)) for code, said in reversed(found)))

"""Exempt tensors, which a config expects to differ while all others must match."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport


def exempted(rows: Iterable[TensorReport], patterns: Sequence[str]) -> tuple[TensorReport, ...]:
    """Return the rows, with each row marked as exempt whose path matches one of `patterns` (`fnmatch.fnmatchcase`)."""
    return tuple(
        replace(row, exempt=True) if any(fnmatchcase(row.path, pattern) for pattern in patterns) else row
        for row in rows
    )


def exempt_layers(problem: Problem) -> set[str]:
    """Return the layers of the weights that some method of the config exempts."""
    patterns = [pattern for method in problem.config.methods for pattern in method.exempt]
    return {weight.layer for weight in problem.weights if any(fnmatchcase(weight.path, p) for p in patterns)}


def unneeded(rows: Sequence[TensorReport], patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns whose tensors neither differ nor are undecided: the exemption hides nothing."""
    matched = {pattern: [row for row in rows if fnmatchcase(row.path, pattern)] for pattern in patterns}
    return tuple(
        pattern
        for pattern, found in matched.items()
        if found and not any(row.differs or row.status == "inconclusive" for row in found)
    )


def unmatched(rows: Sequence[TensorReport], patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns that match no tensor, probably misspelt ones."""
    return tuple(pattern for pattern in patterns if not any(fnmatchcase(row.path, pattern) for row in rows))


def judged(rows: Iterable[TensorReport], gradients: Gradients) -> tuple[tuple[TensorReport, ...], Gradients]:
    """Return rows and gradients without the excused ones, which are no evidence of a mistake.

    Of a training run the gradients are those of the first step; a tensor that is excused there may fail in a later one.
    """
    rows = tuple(rows)
    first = (row for row in rows if row.step in (None, 1) and row.quantity != "value")
    excused = {TensorKey(row.kind, row.path) for row in first if row.exempt and not row.failed}
    tensors = {key: tensor for key, tensor in gradients.tensors.items() if key not in excused}
    return tuple(row for row in rows if row.failed or not row.exempt), replace(gradients, tensors=tensors)

"""Words for `require: all`. Plain text, safe on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reporters.parts.text import inline, plural

if TYPE_CHECKING:
    from gradcheck.results.report import RunReport, Unproven

_WITHOUT = {"absent": "absent (no gradient)", "dead": "dead (its gradient is zero)"}


def shortfall(run: RunReport) -> str:
    """Return how many trainable variables are not proven, if that fails the run; otherwise ""."""
    if not run.unproven:
        return ""
    count, total = len(run.unproven), plural(run.coverage.trainable, "trainable variable")
    return f"require: all: {count} of {total} {'is' if count == 1 else 'are'} not proven"


def shortfall_lines(run: RunReport) -> list[str]:
    """Return a line for each such variable: `noisy/mu is absent (no gradient): the forward pass never reads it`."""
    return [_line(found) for found in run.unproven]


def _line(found: Unproven) -> str:
    why = f": {inline(found.note)}" if found.note else ""
    return f"{inline(found.path)} is {_WITHOUT[found.status]}{why}"

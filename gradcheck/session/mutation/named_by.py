"""Whether a diagnosis names an injected fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.mutation import FaultReport
    from gradcheck.results.report import Diagnosis


def diagnosed(report: FaultReport, found: Sequence[Diagnosis]) -> FaultReport:
    """Return the report of a caught fault with its diagnosis, as named if its code is found as `exact`."""
    codes = tuple(diagnosis.code for diagnosis in found)
    if any(diagnosis.code == report.code and diagnosis.confidence == "exact" for diagnosis in found):
        return replace(report, named=True, diagnosed=codes)
    said = "; ".join(f"{diagnosis.code} ({diagnosis.confidence}): {diagnosis.evidence}" for diagnosis in found)
    return replace(report, diagnosed=codes, reason=f"the diagnosis says {said or 'nothing'}")

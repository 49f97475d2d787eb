"""Every known fault injected into random DAGs, at every place: caught, or without effect for a reason."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from unittest import mock

from gradcheck.config import load_config
from gradcheck.errors import GradcheckError
from tests.generated.driving import Judged, Kind
from tests.generated.graphs import REFUSALS, configs, texts

if TYPE_CHECKING:
    from pathlib import Path


def judge(path: Path) -> Judged:
    """How many faults were caught, and how many are equivalent. One that is missed fails, and so does a wrong split."""
    from gradcheck.session import mutation

    # The time is for injecting: names are left to tests/diagnose.
    with mock.patch.object(mutation, "INJECTING", 3e3):
        try:
            report = mutation.mutate(load_config(path, require_split=True), seconds=0.01, stage=lambda _: None)
        except GradcheckError as error:
            refused = error.code in REFUSALS
            failure = None if refused else f"error: {error.code}"
            return Judged(counts=Counter([f"refused: {error.code}"]), failure=failure, about=error.message)
    if report.baseline is not None:
        return Judged(counts=Counter(["false mismatch"]), failure="false mismatch", about=report.baseline)
    tried = [fault for fault in report.faults if fault.place]
    counts = Counter(fault.reason if fault.left_out else fault.status for fault in tried)
    wrong = [
        fault for fault in tried if fault.status == "missed" or (fault.status == "equivalent" and not fault.reason)
    ]
    about = "\n".join(f"{fault.code} at {fault.place}: {fault.status}: {fault.reason}" for fault in wrong)
    return Judged(counts=counts, failure=f"{wrong[0].code} {wrong[0].status}" if wrong else None, about=about)


FAULTS = Kind(name="faults", texts=texts(configs(most=6, faults=True)), judge=judge, rerun="gradcheck mutate {}")

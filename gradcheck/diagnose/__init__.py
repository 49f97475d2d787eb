"""Diagnosis of a mismatch: the known mistake that explains it, its place, the evidence, and a fix."""

from __future__ import annotations

from gradcheck.diagnose.derivatives import diagnose_derivatives
from gradcheck.diagnose.effort import Effort
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.gradients import diagnose_gradients as diagnose
from gradcheck.diagnose.other_engines import diagnose_engine
from gradcheck.diagnose.replaying.replays import Replayed
from gradcheck.diagnose.tracing.not_finite import not_finite_derivatives
from gradcheck.diagnose.tracing.parts import parts_apart
from gradcheck.diagnose.training import diagnose_training

__all__ = [
    "Effort",
    "Observed",
    "Replayed",
    "diagnose",
    "diagnose_derivatives",
    "diagnose_engine",
    "diagnose_training",
    "not_finite_derivatives",
    "parts_apart",
]

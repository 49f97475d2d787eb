"""Diagnosis of a mismatch: the known mistake that explains it, its place, the evidence, and a fix."""

from __future__ import annotations

from gradcheck.diagnose.effort import Effort
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.explaining import Explained, Explaining
from gradcheck.diagnose.gradients import diagnose_gradients as diagnose
from gradcheck.diagnose.replaying.replays import Replayed
from gradcheck.diagnose.training import diagnose_training

__all__ = [
    "Effort",
    "Explained",
    "Explaining",
    "Observed",
    "Replayed",
    "diagnose",
    "diagnose_training",
]

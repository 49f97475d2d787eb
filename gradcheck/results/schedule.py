"""Frozen records of the order in which micro-batches ran through the segments."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """The passes of one segment over the micro-batches, in order, such as F0 F1 B0 B1.

    `peak_activations` is the largest number of micro-batches whose activations it holds at one time.
    """

    segment: int
    work: tuple[str, ...]
    peak_activations: int


@dataclass(frozen=True, kw_only=True)
class ScheduleReport:
    """The order in which the micro-batches ran through the segments."""

    name: str
    microbatches: int
    stages: tuple[StageReport, ...]

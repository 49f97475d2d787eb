"""Frozen record of what each chunk of a time split adds to the gradient of a weight."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """The parts of a weight's gradient that the chunks of a time split add: the 2-norm of each, by segment."""

    path: str
    segments: tuple[int, ...]
    norms: tuple[float, ...]

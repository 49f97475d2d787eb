"""Frozen records of a plan: the segments and what crosses between them, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck.results.json_types import json_text, plain_of


@dataclass(frozen=True, kw_only=True)
class BoundaryReport:
    """One tensor at the edge of a segment; None stands for an axis whose length the model leaves open."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PlannedSegment:
    """One segment. `flops` are estimated for the whole batch, forward."""

    index: int
    name: str
    layers: tuple[str, ...]
    parameters: int
    flops: int
    inputs: tuple[BoundaryReport, ...]
    outputs: tuple[BoundaryReport, ...]


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """The plan of one config. `names` is what `split.after` accepts, where there is no split; `memory` by method."""

    name: str
    config: str
    batch_size: int
    names: tuple[str, ...]
    segments: tuple[PlannedSegment, ...]
    memory: dict[str, int]
    warnings: tuple[str, ...]

    def to_json(self) -> str:
        """The plan as JSON text, without a trailing line break."""
        return json_text(plain_of(self))

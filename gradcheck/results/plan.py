"""Frozen records of a plan: the segments and the boundary tensors between them, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

from gradcheck.results.json_types import json_text, plain_of


@dataclass(frozen=True, kw_only=True)
class BoundaryReport:
    """One boundary tensor. None in `shape` is an axis of any length; `bytes` is its size for the whole batch."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class PlannedSegment:
    """One segment. `flops` is an estimate of its forward pass over the whole batch."""

    index: int
    name: str
    layers: tuple[str, ...]
    parameters: int
    flops: int
    inputs: tuple[BoundaryReport, ...]
    outputs: tuple[BoundaryReport, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedDevice:
    """One device of a placement.

    Attributes:
        device: TensorFlow's name, in full.
        address: host:port of its worker; None for a device of this process.
        segments: the indices of the segments that run there.
        weights: the bytes of their variables, each counted on one device alone.
        memory: the estimated peak of `vjp` and its comparison, with the weights.
    """

    device: str
    address: str | None
    segments: tuple[int, ...]
    weights: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """The bytes that a step sends from device to device: forward, backward, and the batch to where it is used."""

    boundaries: int
    cotangents: int
    inputs: int


@dataclass(frozen=True, kw_only=True)
class PlanReport:
    """The plan of one config.

    Attributes:
        name: the name of the config.
        config: its path.
        batch_size: the number of examples in the batch.
        names: the names that `split.after` accepts, for a config without a split.
        segments: the segments, in order.
        memory: the estimated peak memory by method, in bytes; empty for a config without a split.
        warnings: remarks on the cuts.
        devices: those of the placement; none without one.
        crossing: what crosses between them in one step; None without a placement.
        notes: the layers made of layers that stay one call, and why; calls that were moved for their order.
    """

    name: str
    config: str
    batch_size: int
    names: tuple[str, ...]
    segments: tuple[PlannedSegment, ...]
    memory: dict[str, int]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    devices: tuple[PlannedDevice, ...] = ()
    crossing: Traffic | None = None

    def to_json(self) -> str:
        """Return the plan as JSON text without a final line break."""
        return json_text(plain_of(self))

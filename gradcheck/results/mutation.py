"""Frozen records of `gradcheck mutate`: what became of each fault at each place.

The keys are a contract: add, never rename. Numbers that are not finite are written as null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradcheck.results.json_types import json_text, plain_of
from gradcheck.results.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.errors import Mistake
    from gradcheck.results.report import Environment, Tool, Verdict

FaultStatus = Literal["caught", "missed", "equivalent", "not-applicable"]

#: Why a fault that could have been injected was not.
NOT_TRIED = "not tried: out of time"


@dataclass(frozen=True, kw_only=True)
class FaultReport:
    """One fault at one place.

    Attributes:
        place: in words; empty where the fault can sit nowhere in this model.
        effect: what was done there, as a clause; empty as above.
        status: `caught` some tensor fails · `missed` none does, though some moved · `equivalent` none moved ·
            `not-applicable` it was not injected.
        named: whether the diagnosis of what was caught has this code, with confidence `exact`.
        margin: of what was caught, how many times the difference that would have been excused; infinite where no
            difference can be (no gradient, another shape, a value that is not finite). Else NaN.
        reason: why it is not caught, or not named; empty for what is both.
        diagnosed: the codes that the diagnosis gave, in its order.
    """

    code: str
    place: str = ""
    status: FaultStatus
    named: bool = False
    margin: float = math.nan
    reason: str = ""
    title: str
    effect: str = ""
    diagnosed: tuple[str, ...] = ()

    @property
    def injected(self) -> bool:
        """Whether it counts: it was injected, and changed something."""
        return self.status in ("caught", "missed")

    @property
    def left_out(self) -> bool:
        """Whether it could have been injected, and there was no time to."""
        return self.status == "not-applicable" and bool(self.place)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How many faults changed something, how many of those were caught, and how many of those named."""

    injected: int
    caught: int
    named: int

    @classmethod
    def of(cls, faults: Iterable[FaultReport]) -> Score:
        """Counts `faults`."""
        injected = [fault for fault in faults if fault.injected]
        caught = [fault for fault in injected if fault.status == "caught"]
        return cls(injected=len(injected), caught=len(caught), named=sum(fault.named for fault in caught))


@dataclass(frozen=True, kw_only=True)
class MutationReport:
    """One config. `baseline` says what is wrong with the split before any fault is injected; then there are none."""

    name: str
    config: str
    seed: int = 0
    precision: str = "float32"
    verdict: Verdict
    exit_code: int = 0
    errors: tuple[Mistake, ...] = ()
    baseline: str | None = None
    faults: tuple[FaultReport, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = math.nan

    @property
    def score(self) -> Score:
        """The counts over `faults`."""
        return Score.of(self.faults)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the faults: the envelope lists those of all configs."""
        plain = {key: value for key, value in plain_of(self).items() if key != "faults"}
        return plain | {"score": plain_of(self.score)}


@dataclass(frozen=True, kw_only=True)
class Mutations:
    """The whole envelope, however many configs."""

    tool: Tool
    environment: Environment
    runs: tuple[MutationReport, ...]

    @property
    def score(self) -> Score:
        """The counts over all configs."""
        return Score.of(fault for run in self.runs for fault in run.faults)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; each fault says which config it was injected into."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": plain_of(self.tool),
            "environment": plain_of(self.environment),
            "runs": [run.to_dict() for run in self.runs],
            "faults": [plain_of(fault) | {"config": run.config} for run in self.runs for fault in run.faults],
            "score": plain_of(self.score),
        }

    def to_json(self) -> str:
        """The report as JSON text, without a trailing line break."""
        return json_text(self.to_dict())

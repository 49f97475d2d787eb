"""Frozen records of `gradcheck mutate`: the result of each fault at each place.

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
    from gradcheck.results.origin import Environment, Tool
    from gradcheck.results.report import Verdict

FaultStatus = Literal["caught", "missed", "equivalent", "not-applicable"]

#: The reason of a fault that could have been injected and was not.
NOT_TRIED = "not tried: out of time"
#: Begins the reason of a fault that was caught, and was not diagnosed.
NOT_NAMED = "not named: "


@dataclass(frozen=True, kw_only=True)
class FaultReport:
    """One fault at one place.

    Attributes:
        place: the place in words; empty if the fault has no place in this model.
        title: the title of the code.
        effect: the mistake made there, as a clause; empty if there is no place.
        status: `caught` some tensor fails · `missed` no tensor fails, though some changed · `equivalent` no tensor
            changed by more than rounding · `not-applicable` the fault was not injected.
        named: whether it was caught and its diagnosis has this code with confidence `exact`.
        margin: the difference of a caught fault as a multiple of the excused difference; infinite if there is no finite
            difference (no gradient, another shape, a value that is not finite); NaN for a fault that was not caught.
        reason: why it was not caught, or not named; empty if it was both.
        diagnosed: the codes of its diagnoses, in their order.
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
        """Whether it counts in the score: it was injected, and changed some tensor."""
        return self.status in ("caught", "missed")

    @property
    def left_out(self) -> bool:
        """Whether it has a place and was not injected: the time was up."""
        return self.status == "not-applicable" and bool(self.place)

    @property
    def undiagnosed(self) -> bool:
        """Whether it was caught and nobody asked for its name: the time was up, or the run was interrupted."""
        return self.status == "caught" and self.reason.startswith(NOT_NAMED)


@dataclass(frozen=True, kw_only=True)
class Score:
    """The number of faults that changed some tensor, of those that were caught, and of those that were named."""

    injected: int
    caught: int
    named: int

    @classmethod
    def of(cls, faults: Iterable[FaultReport]) -> Score:
        """Count `faults`."""
        injected = [fault for fault in faults if fault.injected]
        caught = [fault for fault in injected if fault.status == "caught"]
        return cls(injected=len(injected), caught=len(caught), named=sum(fault.named for fault in caught))


@dataclass(frozen=True, kw_only=True)
class MutationReport:
    """One config. `baseline` says how a split without any fault is wrong; no faults are injected into it then."""

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
        """The counts of `faults`."""
        return Score.of(self.faults)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types without the faults: `Mutations` lists those of all configs."""
        plain = {key: value for key, value in plain_of(self).items() if key != "faults"}
        return plain | {"score": plain_of(self.score)}


@dataclass(frozen=True, kw_only=True)
class Mutations:
    """The report of a `mutate` command: one record for each config."""

    tool: Tool
    environment: Environment
    runs: tuple[MutationReport, ...]

    @property
    def score(self) -> Score:
        """The counts of the faults of all configs."""
        return Score.of(fault for run in self.runs for fault in run.faults)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; each fault has the path of its config."""
        return {
            "schema_version": SCHEMA_VERSION,
            "tool": plain_of(self.tool),
            "environment": plain_of(self.environment),
            "runs": [run.to_dict() for run in self.runs],
            "faults": [plain_of(fault) | {"config": run.config} for run in self.runs for fault in run.faults],
            "score": plain_of(self.score),
        }

    def to_json(self) -> str:
        """Return the report as JSON text without a final line break."""
        return json_text(self.to_dict())

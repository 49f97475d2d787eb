"""Frozen records of `gradcheck bench`: what each method costs beside the reference.

The keys are a contract: add, never rename. What was not measured is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradcheck.results.json_types import json_text, plain_of
from gradcheck.results.report import SCHEMA_VERSION

if TYPE_CHECKING:
    from gradcheck.errors import Mistake
    from gradcheck.results.origin import Environment, Tool
    from gradcheck.results.report import Verdict

CostStatus = Literal["measured", "not-applicable", "error"]


@dataclass(frozen=True, kw_only=True)
class MethodCost:
    """What one method costs, warm.

    Attributes:
        method: its name.
        status: `measured` · `not-applicable` to this config · `error` it is in the config, and raised.
        reason: why it was not measured; empty if it was.
        against: what it is beside: `tape`, for a way of training the `plain loop`; empty for these themselves.
        rounds: how often it was timed.
        first_seconds: the first call, with all that is made once: a compiled function, another process.
        seconds: the median of the calls after it; seconds_range: the least and the most.
        time_ratio: the median of its time / that of `against`, each pair measured in turn; time_ratio_range: the least
            and the most.
        peak_bytes: how far memory rose during a call, beyond what was held before; None where nothing tells, or in
            another process.
        memory_ratio: peak_bytes / that of `against`; None if either is below 1 MiB, and so not told from noise.
    """

    method: str
    status: CostStatus = "measured"
    reason: str = ""
    against: str = ""
    rounds: int = 0
    first_seconds: float | None = None
    seconds: float | None = None
    seconds_range: tuple[float, ...] = ()
    time_ratio: float | None = None
    time_ratio_range: tuple[float, ...] = ()
    peak_bytes: int | None = None
    memory_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class BenchedConfig:
    """The costs of one config: those of what the methods are beside, and of the methods."""

    name: str
    config: str
    precision: str
    execution: str
    verdict: Verdict
    exit_code: int = 0
    batch_size: int = 0
    parameters: int = 0
    errors: tuple[Mistake, ...] = ()
    references: tuple[MethodCost, ...] = ()
    methods: tuple[MethodCost, ...] = ()


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """The report of `gradcheck bench`: one entry for each config."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    environment: Environment
    runs: tuple[BenchedConfig, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types with the keys of the contract."""
        return dict(plain_of(self))

    def to_json(self) -> str:
        """Return the report as JSON text without a final line break."""
        return json_text(self.to_dict())

"""Frozen result records, to and from JSON. The keys are a contract: add, never rename.

A record is what every reporter sees; it holds no tensor and imports no TensorFlow. Numbers that are not finite are
written as null, and read back as NaN where a number is required: the status says why.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from gradcheck.errors import Mistake  # noqa: TC001 - reading a report evaluates the types of its fields
from gradcheck.results.json_types import json_text, plain_of, record_from
from gradcheck.results.tensor import Comparison, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_VERSION = "1"

Kind = Literal["weight", "input", "boundary", "output", "loss", "state", "optimizer", "jacobian"]
Outcome = Literal["match", "mismatch", "inconclusive", "error"]
Expectation = Literal["match", "mismatch"]
Verdict = Literal["pass", "fail", "error", "vacuous"]
Confidence = Literal["exact", "likely", "possible"]
Quantity = Literal["gradient", "value"]

#: A tensor with one of these statuses fails its check.
FAILING: frozenset[str] = frozenset({"mismatch", "nonfinite", "missing"})
#: A gradient with one of these statuses has been proven equal.
PROVEN: frozenset[str] = frozenset({"exact", "close"})


@dataclass(frozen=True, kw_only=True)
class TensorIdentity:
    """Which tensor it is."""

    kind: Kind
    segment: int | None
    layer: str
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TensorReport(Comparison, TensorIdentity):
    """One compared tensor: which it is, then what the comparison found (a dataclass's last base comes first)."""

    segments: tuple[int, ...] | None = None  # a shared weight: every segment that uses it
    step: int | None = None  # of training, from 1
    quantity: Quantity | None = None  # in training: its gradient in that step, or its value after it
    exempt: bool = False  # the config expects it to differ where all others match

    @property
    def differs(self) -> bool:
        """Whether the two sides are not the same."""
        return self.status in FAILING

    @property
    def failed(self) -> bool:
        """Whether this tensor fails its check. What is not finite does so even where it is exempt."""
        return self.differs and not (self.exempt and self.status != "nonfinite")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong, where, how we know and how to mend it."""

    code: str
    title: str
    segment: int | None
    layer: str | None
    confidence: Confidence
    evidence: str
    fix: str
    place: str | None = None  # in words, such as `boundary 0 → 1`


@dataclass(frozen=True, kw_only=True)
class SegmentReport:
    """One part of the model between two cuts; `parameters` counts trainable and non-trainable elements."""

    index: int
    name: str
    layers: tuple[str, ...]
    parameters: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReferenceReport:
    """The monolithic model under one tape.

    `gradient_norm` is the global 2-norm over all weights. `verified`: how far, as a share, its gradient may be from a
    finite difference of the loss along a random direction over all weights and inputs; None where that was not tried,
    or did not decide.
    """

    method: str
    loss: float
    seconds: float
    gradient_norm: float
    verified: float | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many trainable variables there are, and what became of them. `compared` includes dead ones."""

    trainable: int
    compared: int
    absent: int
    dead: int


@dataclass(frozen=True, kw_only=True)
class Unproven:
    """A trainable variable whose gradient proves nothing: `absent` (None) or `dead` (zero) in the reference."""

    path: str
    status: Status
    note: str | None = None  # why, where that is known


@dataclass(frozen=True, kw_only=True)
class Contribution:
    """What each chunk of a time split adds to a weight's gradient: the 2-norm of its part, by segment."""

    path: str
    segments: tuple[int, ...]
    norms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """What one segment does with the micro-batches: its work in order, such as F0 F1 B0 B1.

    `peak_activations` is how many micro-batches' activations it holds at most at one time.
    """

    segment: int
    work: tuple[str, ...]
    peak_activations: int


@dataclass(frozen=True, kw_only=True)
class ScheduleReport:
    """The order in which micro-batches went through the segments."""

    name: str
    microbatches: int
    stages: tuple[StageReport, ...]


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """One method beside the reference."""

    method: str
    expect: Expectation
    outcome: Outcome
    as_expected: bool
    loss: float
    loss_abs_error: float
    max_abs_error: float
    max_rel_error: float
    seconds: float
    peak_bytes: int | None = None
    first_divergence: str | None = None
    tensors: tuple[TensorReport, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    error: Mistake | None = None
    warnings: tuple[str, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    schedule: ScheduleReport | None = None
    steps: int = 0  # of training; the tensors are those of the first failing step and of the last
    first_failing_step: int | None = None
    notes: tuple[str, ...] = ()  # what is worth knowing and nothing to mend
    exempt: tuple[str, ...] = ()  # patterns over the paths of tensors that are expected to differ
    unneeded: tuple[str, ...] = ()  # those of `exempt` whose tensors all match: then the check is not as expected
    rests_on: str = ""  # what the method shares with the reference, and so cannot find wrong
    second_opinion: str | None = None  # of a mismatch: which side float64 takes, or why it cannot say

    def of_kind(self, *kinds: Kind) -> tuple[TensorReport, ...]:
        """The tensors of these kinds, in report order."""
        return tuple(tensor for tensor in self.tensors if tensor.kind in kinds)

    @property
    def failures(self) -> tuple[TensorReport, ...]:
        """The tensors that fail this check, in report order."""
        return tuple(tensor for tensor in self.tensors if tensor.failed)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """One config."""

    name: str
    config: str
    seed: int
    precision: str
    execution: str
    verdict: Verdict
    error: Mistake | None = None
    errors: tuple[Mistake, ...] = ()  # all of them; `error` is the first
    exit_code: int = 0
    segments: tuple[SegmentReport, ...] = ()
    reference: ReferenceReport | None = None
    coverage: Coverage = Coverage(trainable=0, compared=0, absent=0, dead=0)
    unproven: tuple[Unproven, ...] = ()  # under `require: all`, which any of them fails
    checks: tuple[CheckReport, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what is worth knowing and nothing to mend


@dataclass(frozen=True, kw_only=True)
class Tool:
    """The program that wrote the report."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Versions that figures depend on; empty where TensorFlow was never needed."""

    python: str = ""
    tensorflow: str = ""
    keras: str = ""
    numpy: str = ""
    device: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How many configs came out how."""

    runs: int
    passed: int
    failed: int
    errors: int
    vacuous: int

    @classmethod
    def of(cls, runs: Sequence[RunReport]) -> Summary:
        """Counts the verdicts of `runs`."""
        verdicts = [run.verdict for run in runs]
        return cls(
            runs=len(verdicts),
            passed=verdicts.count("pass"),
            failed=verdicts.count("fail"),
            errors=verdicts.count("error"),
            vacuous=verdicts.count("vacuous"),
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole envelope, however many configs."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    environment: Environment
    summary: Summary
    runs: tuple[RunReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types with the contract's keys; numbers that are not finite become None."""
        return dict(plain_of(self))

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON text, without a trailing line break."""
        return json_text(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Report:
        """Reads what `to_dict` wrote; keys it does not know are ignored, so newer reports can be read.

        Raises:
            ValueError: if `data` is not a report, or of a schema version that this program does not know.
        """
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(f"not a gradcheck report of schema version {SCHEMA_VERSION}. Received: {version!r}")
        return record_from(cls, data)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Reads JSON text. Raises ValueError as `from_dict` does, also for text that is not JSON."""
        return cls.from_dict(json.loads(text))

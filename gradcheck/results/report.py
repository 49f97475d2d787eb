"""Frozen records of a report, and their conversion to and from JSON. The keys are a contract: add, never rename.

Reporters read nothing but these records, which hold no tensor and import no TensorFlow. A number that is not finite is
written as null, and read back as NaN if the field requires a number: the status says why.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradcheck.errors import ExitCode, Mistake, RunError, most_serious
from gradcheck.results.by_step import StepReport  # noqa: TC001 - as below
from gradcheck.results.contribution import Contribution  # noqa: TC001 - read from JSON by the types of the fields
from gradcheck.results.json_types import json_text, plain_of, record_from
from gradcheck.results.origin import Environment, Shard, Tool  # noqa: TC001 - types of fields are looked up by name
from gradcheck.results.point_counts import PointCounts  # noqa: TC001 - as below
from gradcheck.results.schedule import ScheduleReport  # noqa: TC001 - as above
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
#: A gradient with one of these agrees, if only because it is zero on both sides.
AGREEING: frozenset[str] = PROVEN | {"dead"}


@dataclass(frozen=True, kw_only=True)
class TensorIdentity:
    """The identity of a tensor: its kind, place and path."""

    kind: Kind
    segment: int | None
    layer: str
    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class TensorReport(Comparison, TensorIdentity):
    """One compared tensor: its identity, then its comparison (the fields of a dataclass's last base come first)."""

    segments: tuple[int, ...] | None = None  # of a shared weight: every segment that uses it
    step: int | None = None  # of training, from 1
    quantity: Quantity | None = None  # of training: its gradient in that step, or its value afterwards
    exempt: bool = False  # the config expects it to differ where all others match
    lines: tuple[str, ...] = ()  # of a script: its gradient calls and its update

    @property
    def differs(self) -> bool:
        """Whether candidate and reference differ by more than the tolerance allows."""
        return self.status in FAILING

    @property
    def failed(self) -> bool:
        """Whether this tensor fails its check. A tensor that is not finite fails even if it is exempt."""
        return self.differs and not (self.exempt and self.status != "nonfinite")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """An explanation of a mismatch: the mistake, its place, the evidence, and how to fix it."""

    code: str
    title: str
    segment: int | None
    layer: str | None
    confidence: Confidence
    evidence: str
    fix: str
    place: str | None = None  # in words, such as `boundary 0 → 1`
    line: str | None = None  # of a script, such as `train.py:31`
    file: str | None = None  # the path of the script that `line` is in
    reproducer: str | None = None  # of a function: a script of a few lines that shows it


class Sides(NamedTuple):
    """What people call the two sides of a check; `of_state` is the candidate's side of state, if that is another."""

    reference: str = "reference"
    candidate: str = "candidate"
    of_state: str | None = None

    def of(self, kind: Kind) -> tuple[str, str]:
        """Return the names of the reference's and of the candidate's side for a tensor of this kind."""
        return self.reference, (self.of_state if kind == "state" else None) or self.candidate

    @property
    def standard(self) -> str:
        """The side that the other one is held against."""
        return "the reference" if self == Sides() else self.candidate


_SIDES = Sides()


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
    """The whole model under one tape.

    Attributes:
        method: `tape`.
        loss: the loss.
        seconds: the time of one run.
        gradient_norm: the global 2-norm of the gradients of all weights.
        verified: the largest relative difference of its gradient and a finite difference of the loss along one random
            direction of all weights and inputs; None if that was not computed, or did not decide.
        file: the file of `--reference` that it was read from; None if it was computed.
    """

    method: str
    loss: float
    seconds: float
    gradient_norm: float
    verified: float | None = None
    file: str | None = None


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The number of trainable variables, and of those by status. `compared` includes dead ones."""

    trainable: int
    compared: int
    absent: int
    dead: int


@dataclass(frozen=True, kw_only=True)
class Unproven:
    """A trainable variable whose gradient proves nothing: in the reference it is `absent` (None) or `dead` (zero)."""

    path: str
    status: Status
    note: str | None = None  # why, if known


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The check of one method against the reference."""

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
    steps: int = 0  # of training; `tensors` has those of the first failing step and of the last
    first_failing_step: int | None = None
    by_step: tuple[StepReport, ...] = ()  # of training: how the errors grow
    notes: tuple[str, ...] = ()  # facts that need no change
    exempt: tuple[str, ...] = ()  # patterns over the paths of tensors that are expected to differ
    unneeded: tuple[str, ...] = ()  # those of `exempt` whose tensors all match: then the check is not as expected
    rests_on: str = ""  # the code shared with the reference, in which the method can find no mistake
    second_opinion: str | None = None  # of a mismatch: the side that float64 agrees with, or why it does not decide
    sides: Sides = _SIDES
    points: PointCounts | None = None  # of a function that is swept
    asked_at: str | None = None  # `file:line`: of a candidate its function, otherwise where the config asks for it

    def of_kind(self, *kinds: Kind) -> tuple[TensorReport, ...]:
        """Return the tensors of these kinds, in report order."""
        return tuple(tensor for tensor in self.tensors if tensor.kind in kinds)

    @property
    def failures(self) -> tuple[TensorReport, ...]:
        """The tensors that fail this check, in report order."""
        return tuple(tensor for tensor in self.tensors if tensor.failed)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The run of one config."""

    name: str
    config: str
    seed: int
    precision: str
    execution: str
    verdict: Verdict
    error: Mistake | None = None
    errors: tuple[Mistake, ...] = ()  # all errors; `error` is the first
    exit_code: int = 0
    segments: tuple[SegmentReport, ...] = ()
    reference: ReferenceReport | None = None
    coverage: Coverage = Coverage(trainable=0, compared=0, absent=0, dead=0)
    unproven: tuple[Unproven, ...] = ()  # under `require: all`: any of them fails the run
    checks: tuple[CheckReport, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # facts that need no change
    inputs: tuple[str, ...] = ()  # of a layer or function: what it was called with, such as `x (2, 8)`

    @property
    def own_errors(self) -> tuple[Mistake, ...]:
        """The errors of the run as a whole, without those of its checks."""
        return tuple(e for e in self.errors or (self.error,) if e and e not in [check.error for check in self.checks])


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The number of configs by verdict."""

    runs: int
    passed: int
    failed: int
    errors: int
    vacuous: int

    @classmethod
    def of(cls, runs: Sequence[RunReport]) -> Summary:
        """Count the verdicts of `runs`."""
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
    """The report of a command: one run for each config."""

    schema_version: str = SCHEMA_VERSION
    tool: Tool
    environment: Environment
    summary: Summary
    runs: tuple[RunReport, ...]
    shard: Shard | None = None  # the share of the configs that these are, under --shard

    @property
    def exit_code(self) -> ExitCode:
        """The most serious of the runs' exit codes."""
        return most_serious(ExitCode(run.exit_code) for run in self.runs)

    def __bool__(self) -> bool:
        """Whether every check came out as expected, and something was proven."""
        return self.exit_code is ExitCode.OK

    def __str__(self) -> str:
        """Return the concise report."""
        return self._rendered("concise")

    def raise_for_mismatch(self) -> None:
        """Do nothing for a report that is true.

        Raises:
            AssertionError: with the report `in_brief` as its text.
        """
        __tracebackhide__ = True  # pytest then shows the caller's line
        if not self:
            raise AssertionError(self.in_brief())

    def in_brief(self) -> str:
        """Return the concise report with the first ten failing tensors of each check."""
        return self._rendered("concise", most=10)

    def _repr_html_(self) -> str | None:
        """Return the HTML report in a frame of its own, for a notebook; None without jinja2, which it needs."""
        try:
            page = self._rendered("html")
        except RunError:
            return None
        style = "width: 100%; height: 32em; border: 0; background: white"
        return f'<iframe style="{style}" srcdoc="{html.escape(page)}"></iframe>'

    def _rendered(self, format_: str, **options: Any) -> str:
        from gradcheck.reporters import REPORTERS, RenderOptions  # noqa: PLC0415 - only a report that is shown

        return REPORTERS[format_](self, RenderOptions(**options))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types with the keys of the contract; numbers that are not finite become None."""
        return dict(plain_of(self))

    def to_json(self, *, indent: int | None = 2) -> str:
        """Return the report as JSON text without a final line break."""
        return json_text(self.to_dict(), indent)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Report:
        """Read the result of `to_dict`. Unknown keys are ignored, so that newer reports can be read.

        Raises:
            ValueError: if `data` is not a report, or has an unknown schema version.
        """
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise ValueError(f"not a gradcheck report of schema version {SCHEMA_VERSION}. Received: {version!r}")
        return record_from(cls, data)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read JSON text.

        Raises:
            ValueError: as `from_dict`, and if the text is not JSON.
        """
        return cls.from_dict(json.loads(text))

"""Sample reports, one for each way a run can come out."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from gradcheck.errors import Mistake
from gradcheck.results.report import (
    CheckReport,
    Coverage,
    Diagnosis,
    Environment,
    ReferenceReport,
    Report,
    RunReport,
    SegmentReport,
    Summary,
    TensorReport,
    Tool,
    Unproven,
)
from gradcheck.results.schedule import ScheduleReport, StageReport
from gradcheck.results.tensor import Required, Worst

#: Markup of rich, HTML, Markdown, XML, GitHub and terminals, and characters that cannot be encoded.
HOSTILE = (
    '[red]x[/red] <script>alert("1")</script> \x1b[31mANSI\x1b[0m a|b `c` *d* @me 100%,:\r\n::error::\x00'
    "\u202e\ud800 </details>"
)


def tensor(path: str, **changes: Any) -> TensorReport:
    """A tensor that matches bit for bit, unless `changes` say otherwise."""
    layer, _, name = path.partition("/")
    shape = changes.pop("shape", (2, 3))
    fields: dict[str, Any] = {
        "kind": "weight", "segment": 0, "layer": layer, "name": name or layer, "path": path, "shape": shape,
        "dtype": "float32", "status": "exact", "allclose": True, "max_abs_error": 0.0, "max_rel_error": 0.0,
        "max_ulp_error": 0.0, "cosine": 1.0, "norm_ratio": 1.0, "noise_floor": None, "elements": math.prod(shape),
        "mismatched_elements": 0, "worst": Worst(index=(0,) * len(shape), reference=0.5, candidate=0.5),
        "rtol": 1e-05, "atol": 0.0, "required": Required(rtol=0.0, atol=0.0),
    }  # fmt: skip
    return TensorReport(**fields | changes)


def close(path: str, **changes: Any) -> TensorReport:
    """A tensor that is off by rounding."""
    figures = {
        "status": "close", "max_abs_error": 1.2e-08, "max_rel_error": 3e-08, "max_ulp_error": 2.0,
        "required": Required(rtol=3.25e-08, atol=1.2e-08),
    }  # fmt: skip
    return tensor(path, **figures | changes)


def wrong(path: str, **changes: Any) -> TensorReport:
    """A tensor that is plainly wrong."""
    shape = changes.get("shape", (2, 3))
    figures = {
        "status": "mismatch", "allclose": False, "max_abs_error": 0.0123, "max_rel_error": 1.5,
        "max_ulp_error": 123456.0, "cosine": -0.25, "norm_ratio": 2.5, "mismatched_elements": math.prod(shape),
        "worst": Worst(index=(0,) * (len(shape) - 1) + (2,), reference=0.0082, candidate=0.0205),
        "required": Required(rtol=1.5, atol=0.0123),
    }  # fmt: skip
    return tensor(path, **figures | changes)


def unproven(path: str, status: str, **changes: Any) -> TensorReport:
    """A tensor that has no figures: missing, absent, dead, nonfinite."""
    nan = math.nan
    figures = {
        "status": status, "allclose": False, "max_abs_error": nan, "max_rel_error": nan, "max_ulp_error": nan,
        "cosine": nan, "norm_ratio": nan, "worst": None, "required": Required(rtol=nan, atol=nan),
    }  # fmt: skip
    return tensor(path, **figures | changes)


def segments() -> tuple[SegmentReport, ...]:
    """Three parts of a small CNN."""
    first = SegmentReport(
        index=0, name="segment_0", layers=("conv_0",), parameters=30, inputs=("input",), outputs=("conv_0",)
    )
    second = SegmentReport(
        index=1, name="segment_1", layers=("conv_1",), parameters=150, inputs=("conv_0",), outputs=("conv_1",)
    )
    layers = ("flatten", "dense", "activation")
    third = SegmentReport(
        index=2, name="segment_2", layers=layers, parameters=385, inputs=("conv_1",), outputs=("activation",)
    )
    return first, second, third


def cnn_tensors(**first: TensorReport) -> tuple[TensorReport, ...]:
    """What a check of the CNN compares; `first` replaces rows by path with `/` written as `__`."""
    rows = (
        close("conv_0/kernel", shape=(2, 2, 1, 6)),
        tensor("conv_0/bias", shape=(6,)),
        tensor("conv_1/kernel", shape=(2, 2, 6, 6), segment=1),
        tensor("conv_1/bias", shape=(6,), segment=1),
        tensor("dense/kernel", shape=(384, 1), segment=2),
        tensor("dense/bias", shape=(1,), segment=2),
        tensor("input", kind="input", shape=(3, 10, 10, 1), name=""),
        tensor("conv_0", kind="boundary", shape=(3, 9, 9, 6)),
        tensor("conv_1", kind="boundary", shape=(3, 8, 8, 6), segment=1),
        tensor("activation", kind="output", shape=(3, 1), segment=2),
        tensor("loss", kind="loss", shape=(), segment=None),
    )
    return tuple(first.get(row.path.replace("/", "__"), row) for row in rows)


def check(method: str = "vjp", **changes: Any) -> CheckReport:
    """A check that matches, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "method": method, "expect": "match", "outcome": "match", "as_expected": True, "loss": 0.253412,
        "loss_abs_error": 0.0, "max_abs_error": 1.2e-08, "max_rel_error": 3e-08, "seconds": 0.0312,
        "tensors": cnn_tensors(), "rests_on": "the model's forward code, shared with the reference",
    }  # fmt: skip
    return CheckReport(**fields | changes)


def run(name: str = "cnn", **changes: Any) -> RunReport:
    """A run that passes, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "name": name, "config": f"configs/{name}.yaml", "seed": 0, "precision": "float32", "execution": "eager",
        "verdict": "pass", "segments": segments(),
        "reference": ReferenceReport(method="tape", loss=0.253412, seconds=0.12, gradient_norm=1.25),
        "coverage": Coverage(trainable=6, compared=6, absent=0, dead=0), "checks": (check(),),
    }  # fmt: skip
    return RunReport(**fields | changes)


def report(*runs: RunReport) -> Report:
    """The envelope."""
    environment = Environment(python="3.11.2", tensorflow="2.21.0", keras="3.15.0", numpy="2.4.0", device="CPU")
    tool = Tool(name="gradcheck", version="0.1.0")
    return Report(tool=tool, environment=environment, summary=Summary.of(runs), runs=runs)


def diagnosis(**changes: Any) -> Diagnosis:
    """Why the failing sample fails."""
    fields: dict[str, Any] = {
        "code": "GC101", "title": "cotangent missing", "segment": 0, "layer": "conv_0", "confidence": "exact",
        "evidence": "with the cotangent of boundary 0 set to ones, every gradient equals the candidate's",
        "fix": "pass output_gradients=cotangent to tape.gradient of segment 0",
    }  # fmt: skip
    return Diagnosis(**fields | changes)


def failing_check(method: str = "candidate", **changes: Any) -> CheckReport:
    """Segment 0 has the wrong gradients."""
    rows = cnn_tensors(
        conv_0__kernel=wrong(
            "conv_0/kernel", shape=(2, 2, 1, 6), worst=Worst(index=(0, 0, 0, 3), reference=0.0082, candidate=0.0205)
        ),
        conv_0__bias=unproven("conv_0/bias", "missing", shape=(6,), note="the candidate gives no gradient"),
    )
    fields: dict[str, Any] = {
        "outcome": "mismatch", "as_expected": False, "tensors": rows, "first_divergence": "conv_0/kernel",
        "diagnoses": (diagnosis(),), "warnings": ("the candidate changed weights; they were put back",),
        "second_opinion": "float64 sides with the reference: at conv_0/kernel it is off by 3.0e-08 of its size",
    }  # fmt: skip
    return check(method, **fields | changes)


@pytest.fixture
def passing() -> Report:
    return report(run())


@pytest.fixture
def failing() -> Report:
    return report(run(verdict="fail", exit_code=1, checks=(check(), failing_check())))


@pytest.fixture
def control() -> Report:
    expected: dict[str, Any] = {"expect": "mismatch", "as_expected": True}
    nothing: dict[str, Any] = {"diagnoses": (), "first_divergence": None, "warnings": (), "second_opinion": None}
    naive = failing_check("naive", **expected, **nothing)
    return report(run(checks=(check(), naive)))


@pytest.fixture
def unexpected_match() -> Report:
    return report(run(verdict="fail", exit_code=1, checks=(check("naive", expect="mismatch", as_expected=False),)))


@pytest.fixture
def broken() -> Report:
    error = Mistake(
        code="GC051",
        message="the factory raised ValueError: units must be positive\nReceived: units=-1",
        file="model.py",
        line=12,
        column=5,
        help="see the line above",
    )
    empty = Coverage(trainable=0, compared=0, absent=0, dead=0)
    fields: dict[str, Any] = {"error": error, "errors": (error,), "exit_code": 3, "segments": (), "reference": None}
    return report(run("broken", verdict="error", coverage=empty, checks=(), **fields))


@pytest.fixture
def check_error() -> Report:
    error = Mistake(code="GC054", message="the candidate raised KeyError: 'conv_9'", file="train.py", line=7)
    failed = check("candidate", outcome="error", as_expected=False, tensors=(), error=error, seconds=math.nan)
    return report(run(verdict="error", exit_code=3, checks=(check(), failed)))


@pytest.fixture
def vacuous() -> Report:
    rows = tuple(
        row if row.kind in ("output", "loss") else unproven(row.path, "dead", kind=row.kind, segment=row.segment)
        for row in cnn_tensors()
    )
    coverage = Coverage(trainable=6, compared=6, absent=0, dead=6)
    return report(run("vacuous", verdict="vacuous", exit_code=4, coverage=coverage, checks=(check(tensors=rows),)))


@pytest.fixture
def nonfinite() -> Report:
    """Figures that are NaN, infinite or null, as they come back from JSON."""
    worst = Worst(index=(0, 1), reference=math.nan, candidate=math.inf)
    rows = (
        unproven("a/kernel", "nonfinite", worst=worst, mismatched_elements=1),
        unproven("b/kernel", "absent"),
        unproven("c/kernel", "inconclusive", max_abs_error=0.1, max_rel_error=0.2),
        close("d/kernel", noise_floor=1e-09),
    )
    coverage = Coverage(trainable=4, compared=3, absent=1, dead=0)
    bad = check(outcome="mismatch", as_expected=False, tensors=rows, loss=math.nan, loss_abs_error=math.nan)
    reference = ReferenceReport(method="tape", loss=math.nan, seconds=math.nan, gradient_norm=math.inf)
    return report(run("nan", verdict="fail", coverage=coverage, reference=reference, segments=(), checks=(bad,)))


@pytest.fixture
def large() -> Report:
    """600 rows in 60 segments, three of them wrong."""
    parts = tuple(
        SegmentReport(
            index=i,
            name=f"segment_{i}",
            layers=tuple(f"conv{i}_block{j}_batch_normalization" for j in range(5)),
            parameters=1_234_567 * i,
            inputs=(f"cut_{i}",),
            outputs=(f"cut_{i + 1}",),
        )
        for i in range(60)
    )
    rows = [
        (wrong if (i, j) in {(0, 0), (0, 1), (7, 3)} else close)(
            f"backbone/conv{i}_block{j // 2}_batch_normalization/{('gamma', 'beta')[j % 2]}",
            layer=f"conv{i}_block{j // 2}_batch_normalization",
            segment=i,
            shape=(64,),
            max_rel_error=1.5 if (i, j) in {(0, 0), (0, 1), (7, 3)} else 10.0 ** -(j + 3),
        )
        for i in range(60)
        for j in range(10)
    ]
    failed = check(outcome="mismatch", as_expected=False, tensors=tuple(rows), first_divergence=rows[73].path)
    coverage = Coverage(trainable=600, compared=600, absent=0, dead=0)
    return report(run("large", verdict="fail", segments=parts, coverage=coverage, checks=(failed,)))


@pytest.fixture
def invalid() -> Report:
    """A config with two mistakes."""
    fields: dict[str, Any] = {"file": "configs/invalid.yaml", "exit_code": 2}
    first = Mistake(
        code="GC003", message="unknown key: los", line=7, column=3, length=3, excerpt="  los: MSE",
        help="did you mean loss?", **fields,
    )  # fmt: skip
    second = Mistake(code="GC005", message="missing key: model", line=1, column=1, **fields)
    nothing: dict[str, Any] = {
        "segments": (),
        "reference": None,
        "checks": (),
        "error": first,
        "errors": (first, second),
    }
    return report(run("invalid", verdict="error", exit_code=2, **nothing))


@pytest.fixture
def skip() -> Report:
    """A tensor that skips a segment, and a weight that two segments share."""
    parts = tuple(
        dataclasses.replace(part, inputs=inputs, outputs=outputs)
        for part, inputs, outputs in zip(
            segments(), (("input",), ("a",), ("b", "skip")), (("a", "skip"), ("b",), ("activation",)), strict=True
        )
    )
    rows = (
        tensor("shared/kernel", segments=(0, 2)),
        close("conv_1/kernel", segment=1),
        tensor("a", kind="boundary"),
        wrong("skip", kind="boundary"),
        close("b", kind="boundary", segment=1),
    )
    bad = check(outcome="mismatch", as_expected=False, tensors=rows, first_divergence="skip")
    coverage = Coverage(trainable=2, compared=2, absent=0, dead=0)
    return report(run("skip", verdict="fail", exit_code=1, segments=parts, coverage=coverage, checks=(bad,)))


@pytest.fixture
def training() -> Report:
    """Five steps of training, of which the second is the first wrong one: its rows, and those of the last."""
    rows = tuple(
        row
        for step in (2, 5)
        for row in (
            wrong("dense/kernel", segment=2, step=step, quantity="gradient"),
            tensor("dense/bias", segment=2, step=step, quantity="gradient"),
            tensor("loss", kind="loss", shape=(), segment=None, step=step),
            wrong("dense/kernel", segment=2, step=step, quantity="value"),
            tensor("dense/bias", segment=2, step=step, quantity="value"),
            tensor("sgd/iteration", kind="optimizer", shape=(), segment=None, step=step, quantity="value"),
        )
    )
    fields: dict[str, Any] = {"first_divergence": "dense/kernel", "steps": 5, "first_failing_step": 2}
    stale = diagnosis(code="GC305", title="stale weights", segment=None, layer=None, confidence="likely")
    bad = check(outcome="mismatch", as_expected=False, tensors=rows, diagnoses=(stale,), **fields)
    coverage = Coverage(trainable=2, compared=2, absent=0, dead=0)
    return report(run("training", verdict="fail", exit_code=1, coverage=coverage, checks=(bad,)))


@pytest.fixture
def trained() -> Report:
    """Five steps of training that are all right: the rows of the last."""
    rows = tuple(
        tensor(path, segment=2, step=5, quantity=quantity)
        for quantity in ("gradient", "value")
        for path in ("dense/kernel", "dense/bias")
    )
    coverage = Coverage(trainable=2, compared=2, absent=0, dead=0)
    return report(run("trained", coverage=coverage, checks=(check(tensors=rows, steps=5),)))


@pytest.fixture
def scheduled() -> Report:
    """Thirty micro-batches through three stages, and a note on them."""
    every = range(30)
    work = ("F0", *(item for i in every[1:] for item in (f"F{i}", f"B{i - 1}")), "B29")
    stages = (
        StageReport(segment=0, work=work, peak_activations=2),
        StageReport(segment=1, work=("F0", "F1", "B0", "B1"), peak_activations=2),
        StageReport(segment=2, work=("F0", "B0", "F1", "B1"), peak_activations=1),
    )
    schedule = ScheduleReport(name="1f1b", microbatches=30, stages=stages)
    note = "GC301: batch statistics are taken for each micro-batch"
    return report(run("scheduled", checks=(check(schedule=schedule),), notes=(note,)))


@pytest.fixture
def exempting() -> Report:
    """One exemption that is needed for one of two tensors, and beside it one that is not needed at all."""
    rows = cnn_tensors(
        conv_0__kernel=wrong("conv_0/kernel", shape=(2, 2, 1, 6), exempt=True),
        conv_0__bias=tensor("conv_0/bias", shape=(6,), exempt=True),
        dense__bias=tensor("dense/bias", shape=(1,), segment=2, exempt=True),
    )
    needed = check("numeric", tensors=rows, exempt=("conv_0/*",))
    unneeded = check("forward", tensors=rows, as_expected=False, exempt=("conv_0/*", "*/b*s"), unneeded=("*/b*s",))
    return report(run(verdict="fail", exit_code=1, checks=(needed, unneeded)))


@pytest.fixture
def required() -> Report:
    """Every check is as expected, and `require: all` is not met."""
    rows = cnn_tensors(
        conv_0__kernel=unproven("conv_0/kernel", "absent", shape=(2, 2, 1, 6)),
        conv_0__bias=unproven("conv_0/bias", "dead", shape=(6,)),
    )
    found = (
        Unproven(path="conv_0/kernel", status="absent", note="the forward pass never reads it"),
        Unproven(path="conv_0/bias", status="dead"),
    )
    coverage = Coverage(trainable=6, compared=5, absent=1, dead=1)
    return report(run(verdict="fail", exit_code=1, coverage=coverage, checks=(check(tensors=rows),), unproven=found))


@pytest.fixture
def several(passing: Report, failing: Report, broken: Report, vacuous: Report, control: Report) -> Report:
    control_run = dataclasses.replace(control.runs[0], name="control", config="configs/control.yaml")
    bad = dataclasses.replace(failing.runs[0], name="bad", config="configs/bad.yaml")
    return report(*passing.runs, bad, *broken.runs, *vacuous.runs, control_run)


@pytest.fixture
def hostile() -> Report:
    """Every text that a user controls is an attack."""
    rows = (
        wrong(HOSTILE, layer=HOSTILE, name=HOSTILE, dtype=HOSTILE, note=HOSTILE),
        unproven(f"dead {HOSTILE}", "dead", layer=HOSTILE, note=HOSTILE),
        tensor(HOSTILE, kind="boundary", layer=HOSTILE),
    )
    error = Mistake(code="GC054", message=HOSTILE, file=HOSTILE, line=1, column=1, help=HOSTILE)
    bad = check(
        HOSTILE,
        outcome="mismatch",
        as_expected=False,
        tensors=rows,
        first_divergence=HOSTILE,
        diagnoses=(diagnosis(layer=HOSTILE, evidence=HOSTILE, fix=HOSTILE, title=HOSTILE),),
        warnings=(HOSTILE,),
        notes=(HOSTILE,),
        second_opinion=HOSTILE,
        rests_on=HOSTILE,
        exempt=(HOSTILE,),
        unneeded=(HOSTILE,),
        schedule=ScheduleReport(
            name=HOSTILE, microbatches=1, stages=(StageReport(segment=0, work=(HOSTILE,), peak_activations=1),)
        ),
    )
    raised = check(HOSTILE, outcome="error", as_expected=False, tensors=(), error=error)
    part = SegmentReport(index=0, name=HOSTILE, layers=(HOSTILE,), parameters=1, inputs=(HOSTILE,), outputs=(HOSTILE,))
    coverage = Coverage(trainable=2, compared=1, absent=0, dead=1)
    of_run = dataclasses.replace(error, code="GC051")
    fields: dict[str, Any] = {"config": HOSTILE, "error": of_run, "errors": (of_run, of_run), "warnings": (HOSTILE,)}
    fields |= {"notes": (HOSTILE,), "unproven": (Unproven(path=HOSTILE, status="absent", note=HOSTILE),)}
    other = dataclasses.replace(part, index=1, inputs=(HOSTILE,))
    return report(
        run(HOSTILE, verdict="error", segments=(part, other), coverage=coverage, checks=(bad, raised), **fields)
    )


@pytest.fixture(
    params=[
        "passing", "failing", "control", "unexpected_match", "broken", "check_error", "vacuous", "nonfinite", "large",
        "several", "hostile", "invalid", "skip", "training", "trained", "scheduled",
        "exempting", "required",
    ]
)  # fmt: skip
def sample(request: pytest.FixtureRequest) -> Report:
    """Each of the sample reports in turn."""
    found: Report = request.getfixturevalue(request.param)
    return found

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.overview import (
    causes,
    failures_first,
    overall,
    same_cause,
    wrong_checks_first,
    wrong_tensors,
)

if TYPE_CHECKING:
    import pytest

    from gradcheck.results.report import Report


def test_the_most_serious_first_with_their_numbers(several: Report) -> None:
    assert [(n, run.verdict) for n, run in failures_first(several)] == [
        (3, "error"),
        (2, "fail"),
        (4, "vacuous"),
        (1, "pass"),
        (5, "pass"),
    ]
    assert overall(several.runs) == ("ERROR", "bad")
    assert overall(several.runs[:1]) == ("PASS", "good")
    assert overall(()) == ("NOTHING RUN", "warn")


def test_wrong_checks_before_right_ones(failing: Report) -> None:
    assert [(n, check.method) for n, check in wrong_checks_first(failing.runs[0])] == [(2, "candidate"), (1, "vjp")]


def test_the_first_divergence_before_other_failures(failing: Report, control: Report) -> None:
    check = dataclasses.replace(failing.runs[0].checks[1], first_divergence="conv_0/bias")
    assert [tensor.path for tensor in wrong_tensors(check)] == ["conv_0/bias", "conv_0/kernel"]
    wrong = [dataclasses.replace(t, status="mismatch") for t in check.tensors if t.kind != "input"]
    every = dataclasses.replace(check, tensors=tuple(wrong), first_divergence="dense/bias")
    assert [tensor.path for tensor in wrong_tensors(every)][:5] == [
        "dense/bias",
        "loss",
        "activation",
        "conv_1",
        "conv_0",
    ]
    assert wrong_tensors(control.runs[0].checks[1]) == []


def test_the_same_cause_is_told_once(failing: Report) -> None:
    right, wrong = failing.runs[0].checks
    again, other = (dataclasses.replace(wrong, method=name) for name in ("again", "other"))
    other = dataclasses.replace(other, diagnoses=(dataclasses.replace(wrong.diagnoses[0], segment=1),))
    bare = dataclasses.replace(wrong, method="bare", diagnoses=())
    run = dataclasses.replace(failing.runs[0], checks=(right, wrong, again, other, bare, right))
    assert [same_cause(run, check) for check in run.checks] == [None, None, "candidate", None, None, None]


def test_causes_in_a_line_each(request: pytest.FixtureRequest) -> None:
    expected = {
        "passing": [],
        "control": [],
        "failing": ["GC101 at boundary 0 → 1, layer conv_0: cotangent missing"],
        "skip": ["vjp: first wrong at skip"],
        "unexpected_match": ["naive: MATCHES, but the config expects a mismatch"],
        "check_error": ["error[GC054]: the candidate raised KeyError: 'conv_9'"],
        "invalid": ["error[GC003]: unknown key: los", "error[GC005]: missing key: model"],
    }
    assert {name: causes(request.getfixturevalue(name).runs[0]) for name in expected} == expected

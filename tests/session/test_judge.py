"""The verdict and the exit code, by the checks of a run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.errors import ExitCode
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import CheckReport, Coverage, ErrorReport, Unproven
from gradcheck.session.one_config import _coverage, _may_be_explained, _unproven, judge
from tests.records import check, row

if TYPE_CHECKING:
    from collections.abc import Sequence

PROOF = check(row("a"))
DEAD = check(row("a", "dead"))
VALUES = check(row("out", kind="output"), row("loss", kind="loss"))
REPEATED = check(row("a"), outcome="inconclusive")
CONTROL = check(row("a", "mismatch"), method="naive", outcome="mismatch", expect="mismatch")
UNDECIDED_CONTROL = check(row("a", "inconclusive"), outcome="inconclusive", expect="mismatch")
WRONG = check(row("a", "mismatch"), outcome="mismatch", as_expected=False)
#: A control, and an exemption, that match: what was compared is right, and not what the config says.
MATCHING_CONTROL = check(row("a"), expect="mismatch", as_expected=False)
#: Finite differences that leave `a` open, at the batch as it is and at a point.
OPEN = check(row("a", "inconclusive"), row("b"), method="numeric", outcome="inconclusive")
OPEN_AT_ZERO = check(row("a", "inconclusive"), method="numeric[zeros]", outcome="inconclusive")


def error(exit_code: ExitCode) -> CheckReport:
    raised = ErrorReport(code="GC053", message="", exit_code=exit_code)
    return check(outcome="error", as_expected=False, error=raised)


def by(method: str, *tensors: Any) -> CheckReport:
    return check(*tensors, method=method)


@pytest.mark.parametrize(
    "checks",
    [
        [PROOF],
        [PROOF, DEAD],
        [DEAD, PROOF],
        [CONTROL],
        [CONTROL, DEAD],
        [PROOF, CONTROL, REPEATED],
        [OPEN, by("vjp", row("a"))],  # the split is proven, whatever finite differences make of the tape
        [OPEN, by("my own", row("a"))],
        [OPEN, by("forward", row("a"), row("b"))],
        [OPEN_AT_ZERO, by("forward", row("a"))],  # at another point than the one that was left open
        [check(row("a"), row("b", "inconclusive")), by("forward", row("b"))],
    ],
)
def test_a_gradient_that_is_proven_or_a_control_that_fails_is_a_pass(checks: Sequence[CheckReport]) -> None:
    assert judge(checks, trainable=1) == ("pass", ExitCode.OK)
    assert judge(checks, trainable=0) == ("vacuous", ExitCode.VACUOUS)
    unproven = [Unproven(path="z", status="absent")]
    assert judge(checks, trainable=1, unproven=unproven) == ("fail", ExitCode.MISMATCH)


@pytest.mark.parametrize(
    "checks",
    [
        [],
        [DEAD],
        [VALUES],
        [REPEATED],
        [UNDECIDED_CONTROL],
        [OPEN, by("forward", row("a"))],
        [OPEN, by("hvp", row("a"), row("b", "dead"))],
    ],
)
def test_what_proves_nothing_is_vacuous(checks: Sequence[CheckReport]) -> None:
    assert judge(checks, trainable=1) == ("vacuous", ExitCode.VACUOUS)


@pytest.mark.parametrize(
    ("checks", "verdict", "code"),
    [
        ([WRONG], "fail", ExitCode.MISMATCH),
        ([MATCHING_CONTROL], "fail", ExitCode.MISMATCH),
        ([PROOF, CONTROL, WRONG], "fail", ExitCode.MISMATCH),
        ([error(ExitCode.USAGE)], "error", ExitCode.USAGE),
        ([WRONG, error(ExitCode.USAGE)], "error", ExitCode.USAGE),
        ([error(ExitCode.USAGE), error(ExitCode.RUNTIME), PROOF], "error", ExitCode.RUNTIME),
        ([error(ExitCode.RUNTIME), error(ExitCode.USAGE)], "error", ExitCode.RUNTIME),
    ],
)
def test_the_most_serious_of_what_is_not_as_expected_decides(
    checks: Sequence[CheckReport], verdict: str, code: ExitCode
) -> None:
    unproven = [Unproven(path="z", status="absent")]
    assert judge(checks, trainable=1) == judge(checks, trainable=1, unproven=unproven) == (verdict, code)


def test_coverage_counts_each_weight_once_by_the_first_check_that_has_it() -> None:
    first = check(row("a"), row("b", "dead"), row("c", "absent"), row("x", kind="input"))
    second = check(row("b"), row("c"), row("d", "mismatch"))
    problem: Any = SimpleNamespace(weights=[None] * 7)
    assert _coverage(problem, [first, second]) == Coverage(trainable=7, compared=3, absent=1, dead=1)


def test_a_variable_is_unproven_that_has_no_gradient_in_any_step() -> None:
    absent, dead, late, fine = (TensorKey("weight", path) for path in ("absent", "dead", "late", "fine"))
    zero, one = np.zeros(2), np.ones(2)
    steps = [
        {absent: None, dead: zero, late: zero, fine: one},
        {absent: zero, dead: None, late: one, fine: zero},
    ]
    checker: Any = SimpleNamespace(
        training=SimpleNamespace(steps=steps[1:]),
        reference=SimpleNamespace(tensors=steps[0]),
        problem=SimpleNamespace(weights=[SimpleNamespace(key=key, path=key.path) for key in steps[0]]),
    )
    assert _unproven(checker, {dead: "why"}) == (
        Unproven(path="absent", status="absent"),
        Unproven(path="dead", status="dead", note="why"),
    )
    checker.training = None
    assert [found.path for found in _unproven(checker, {})] == ["absent", "dead", "late"]


@pytest.mark.parametrize(
    ("method", "tensor", "explained"),
    [
        ("vjp", row("a", "absent"), True),
        ("vjp", row("a", "dead"), True),
        ("numeric", row("a", "missing", note="None in the reference"), True),
        ("vjp", row("a", "missing", note="None in the candidate"), False),
        ("vjp", row("a"), False),
        ("hvp[zeros]", row("a", "absent"), False),  # of the second order none is missing where a loss is linear
        ("vjp", row("a", "dead", quantity="gradient"), True),
        ("vjp", row("a", "dead", quantity="value"), False),
        ("vjp", row("a", "absent", dtype="int32"), False),
    ],
)
def test_which_gradients_a_reason_is_looked_for(method: str, tensor: Any, explained: bool) -> None:
    assert _may_be_explained(by(method, tensor), tensor) is explained

"""A run of one config without its model: which methods have a check, the verdict and the exit code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.config.sections.methods import METHODS, MethodConfig, MethodOptions
from gradcheck.errors import ConfigError, ExitCode, GradcheckError, Location, Mistake, NotApplicable, RunError
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import CheckReport, Coverage, Unproven
from gradcheck.session import method_check
from gradcheck.session.configs import CheckOptions
from gradcheck.session.method_check import MethodChecker, _lacks_gradient
from gradcheck.session.one_config import _checks, _coverage, _unproven
from gradcheck.session.verdict import judge
from tests.records import check, row

if TYPE_CHECKING:
    from collections.abc import Sequence


def by(method: str, *tensors: Any, **more: Any) -> CheckReport:
    """A check of one of gradcheck's own methods."""
    info = METHODS.get(method.partition("[")[0], METHODS["candidate"])
    return check(*tensors, method=method, rests_on=info.rests_on, **more)


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
OPEN = by("numeric", row("a", "inconclusive"), row("b"), outcome="inconclusive")
OPEN_AT_ZERO = by("numeric[zeros]", row("a", "inconclusive"), outcome="inconclusive")


def error(exit_code: ExitCode) -> CheckReport:
    raised = Mistake(code="GC053", message="", exit_code=exit_code)
    return check(outcome="error", as_expected=False, error=raised)


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
        [OPEN_AT_ZERO, by("hvp[ones]", row("a"))],
        [OPEN, check(row("a"), method="forward")],  # a candidate of that name
        [check(row("a", "inconclusive"), method="numeric", outcome="inconclusive"), by("hvp", row("a"))],  # another
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
        [OPEN_AT_ZERO, by("hvp[zeros]", row("a"))],
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
    checker.reasons = {dead: "why"}
    assert _unproven(checker) == (
        Unproven(path="absent", status="absent"),
        Unproven(path="dead", status="dead", note="why"),
    )
    checker.training = None
    assert [found.path for found in _unproven(checker)] == ["absent", "dead", "late"]


@pytest.mark.parametrize(
    ("method", "tensor", "explained"),
    [
        ("vjp", row("a", "absent"), True),
        ("vjp", row("a", "dead"), True),
        ("numeric", row("a", "missing", note="None in the reference"), True),
        ("vjp", row("a", "missing", note="None in the candidate"), False),
        ("vjp", row("a"), False),
        ("hvp", row("a", "absent"), False),  # of the second order none is missing where a loss is linear
        ("vjp", row("a", "dead", quantity="gradient"), True),
        ("vjp", row("a", "dead", quantity="value"), False),
        ("vjp", row("a", "absent", dtype="int32"), False),
        ("vjp", row("out", "dead", "output"), False),
    ],
)
def test_which_gradients_a_reason_is_looked_for(method: str, tensor: Any, explained: bool) -> None:
    assert _lacks_gradient(MethodConfig(method=method, options=MethodOptions()), tensor) is explained


def test_reasons_are_looked_for_once_and_for_zeros_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(method_check, "why_none", lambda *given: asked.append(given) or {})
    absent, dead, fine, x = (
        TensorKey(*key) for key in (("weight", "a"), ("weight", "b"), ("weight", "c"), ("input", "x"))
    )
    problem: Any = SimpleNamespace(
        weights=[SimpleNamespace(key=key) for key in (absent, dead, fine)],
        batch=SimpleNamespace(x=[None]),
        input_key=lambda _: x,
    )
    zero, one = np.zeros(2), np.ones(2)
    reference: Any = SimpleNamespace(tensors={absent: None, dead: zero, fine: one, x: zero})
    checker = MethodChecker(config=None, problem=problem, reference=reference, watch=None)  # type: ignore[arg-type]
    assert checker.reasons == checker.reasons == {}
    assert asked == [(problem, {absent}, {dead, x})]
    reference.tensors.update({absent: one, dead: one, x: one})
    checker = MethodChecker(config=None, problem=problem, reference=reference, watch=None)  # type: ignore[arg-type]
    assert (checker.reasons, len(asked)) == ({}, 1)


HERE = Location(path=Path("config.yaml"), line=7)


def checks_of(
    found: dict[str, CheckReport | GradcheckError], **options: Any
) -> tuple[list[CheckReport], list[str], list[Any]]:
    """The checks of methods that come to what is `found`, what is noted of the others, and the errors that are told."""

    class Checker:
        training = None

        def check(self, method: MethodConfig) -> CheckReport:
            come_to = found[method.method]
            if isinstance(come_to, GradcheckError):
                raise come_to
            return come_to

    def locate(*keys: Any) -> Location | None:
        return HERE if keys == ("methods", 0) else None

    methods = [MethodConfig(method=name, options=MethodOptions()) for name in found]
    config = SimpleNamespace(methods=methods)
    loaded: Any = SimpleNamespace(config=config, path=Path("config.yaml"), locate=locate)
    noted: list[str] = []
    told: list[Any] = []
    checker: Any = Checker()
    given = CheckOptions(on_error=lambda path, error: told.append((path, error)), **options)
    return [*_checks(loaded, checker, given, noted.append, noted, servers=None)], noted, told


def test_every_method_has_a_check_unless_the_first_that_fails_is_enough() -> None:
    found: Any = {"vjp": PROOF, "naive": WRONG, "jacobian": DEAD}
    asked = replace(PROOF, asked_at="config.yaml:7")  # the only method with a line of its own here
    assert checks_of(found) == ([asked, WRONG, DEAD], ["vjp", "naive", "jacobian"], [])
    assert checks_of(found, fail_fast=True)[0] == [asked, WRONG]


def test_a_method_that_fails_leaves_the_others_their_results() -> None:
    usage, run = ConfigError("unknown", code="GC032"), RunError("raised", code="GC053")
    checks, _, told = checks_of({"vjp": usage, "naive": run, "jacobian": PROOF})
    assert [(c.method, c.outcome, c.error and c.error.code) for c in checks] == [
        ("vjp", "error", "GC032"),
        ("naive", "error", "GC053"),
        ("vjp", "match", None),
    ]
    assert told == [(Path("config.yaml"), usage), (Path("config.yaml"), run)]
    assert (usage.location, run.location) == (HERE, None)


def test_what_does_not_apply_has_no_check_and_is_noted() -> None:
    never, optional = NotApplicable("no steps"), RunError("no rule")
    checks, noted, told = checks_of({"scan": never, "forward": optional, "vjp": PROOF}, optional=frozenset({"forward"}))
    assert (checks, told) == ([PROOF], [])
    assert [note for note in noted if "apply" in note] == [
        "scan does not apply: no steps",
        "forward does not apply: no rule",
    ]
    checks, _, told = checks_of({"forward": ConfigError("no")}, optional=frozenset({"forward"}))
    assert ([c.outcome for c in checks], len(told)) == (["error"], 1)  # a mistake in the config is one all the same
    assert [c.outcome for c in checks_of({"forward": optional})[0]] == ["error"]

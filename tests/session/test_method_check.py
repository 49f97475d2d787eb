"""What one check comes to, by the tensors that were compared."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from gradcheck.config.schema import ToleranceConfig
from gradcheck.config.sections.methods import MethodConfig, MethodOptions
from gradcheck.errors import ConfigError, RunError
from gradcheck.handoff.interface import Gradients
from gradcheck.numerics import ToleranceOverride, TolerancePolicy
from gradcheck.session.compared import Explained, failed
from gradcheck.session.computing import computing
from gradcheck.session.method_check import MethodChecker, tolerance_policy
from gradcheck.session.verdict import proves
from tests.records import row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.report import CheckReport, TensorReport

A, UNDECIDED, WRONG = row("a"), row("b", "inconclusive"), row("c", "mismatch")
EXEMPT = row("c", "mismatch", exempt=True)
OUTPUT = row("out", kind="output")


def compared(*tensors: TensorReport, expect: Any = "match", repeats: bool = False, **found: Any) -> CheckReport:
    gradients: dict[str, Any] = {"loss": None, "outputs": (), "tensors": {}, "state": {}, "seconds": 2.0}
    method = MethodConfig(method="vjp", options=MethodOptions(expect=expect))
    problem: Any = SimpleNamespace(is_cut=not repeats, time=None, weights=())
    checker = MethodChecker(config=None, problem=problem, reference=None, watch=None)  # type: ignore[arg-type]
    return checker._judged(method, Gradients(**{**gradients, **found}), tensors).report(Explained)


@pytest.mark.parametrize(
    ("tensors", "outcome"),
    [
        ([], "match"),
        ([A], "match"),
        ([A, WRONG], "mismatch"),
        ([UNDECIDED, row("c", "missing")], "mismatch"),
        ([A, row("c", "nonfinite")], "mismatch"),
        ([A, UNDECIDED], "match"),
        ([UNDECIDED, row("a", "close", "boundary")], "match"),
        ([UNDECIDED], "inconclusive"),
        ([UNDECIDED, OUTPUT, row("a", "dead"), row("d", "absent")], "inconclusive"),  # none of them proves anything
        ([row("a", "dead"), OUTPUT], "match"),
        ([EXEMPT], "match"),
        ([EXEMPT, UNDECIDED], "inconclusive"),
        ([A, row("c", "nonfinite", exempt=True)], "mismatch"),
    ],
)
def test_the_outcome(tensors: Sequence[TensorReport], outcome: str) -> None:
    for order in (tensors, tensors[::-1]):
        check = compared(*order)
        assert (check.outcome, check.as_expected) == (outcome, outcome != "mismatch")
        control = compared(*order, expect="mismatch")
        assert (control.outcome, control.as_expected) == (outcome, outcome != "match")


@pytest.mark.parametrize(
    ("tensors", "proven"),
    [
        ([A, WRONG], True),
        ([row("a", "close", "input")], True),
        ([row("a", kind="boundary"), row("b", "dead")], True),
        ([row("a", "dead"), row("b", "absent"), UNDECIDED, WRONG], False),
        ([OUTPUT, row("loss", kind="loss"), row("seed", kind="state"), row("slot", kind="optimizer")], False),
        ([], False),
    ],
)
def test_only_a_gradient_that_is_equal_and_alive_proves_something(tensors: Any, proven: bool) -> None:
    assert proves(tensors) is proven


def test_the_references_own_computation_decides_nothing_but_a_difference_counts() -> None:
    check = compared(A, repeats=True, remarks=("slow",))
    assert (check.outcome, check.as_expected, check.notes[0]) == ("inconclusive", True, "slow")
    assert "the reference's own computation" in check.notes[1]
    assert compared(A, WRONG, repeats=True, remarks=("slow",)).outcome == "mismatch"
    assert compared(A, WRONG, repeats=True, remarks=("slow",)).notes == ("slow",)


def test_an_exemption_that_hides_nothing_is_not_as_expected() -> None:
    for patterns, needless in ((["a"], ("a",)), (["c"], ()), (["a", "c"], ("a",)), (["b"], ())):
        check = compared(A, UNDECIDED, EXEMPT, expect={"mismatch": patterns})
        assert (check.outcome, check.unneeded, check.as_expected) == ("match", needless, not needless)
    open_ = compared(UNDECIDED, row("a", "dead", exempt=True), expect={"mismatch": ["a"]})
    assert (open_.outcome, open_.unneeded, open_.as_expected) == ("inconclusive", (), True)


def test_the_figures_are_those_of_the_gradients_that_are_bound() -> None:
    rows = (
        row("a", "close", max_abs_error=1.0, max_rel_error=4.0),
        row("x", "close", "input", max_abs_error=2.0, max_rel_error=3.0),
        row("b", "mismatch", "boundary", max_abs_error=math.inf, max_rel_error=math.nan),
        row("c", "mismatch", exempt=True, max_abs_error=9.0, max_rel_error=9.0),
        row("out", "mismatch", "output", max_abs_error=8.0, max_rel_error=8.0),
        row("loss", "close", "loss", max_abs_error=0.5, max_rel_error=7.0),
    )
    found = compared(*rows, loss=3.5, warnings=("mind",), expect={"mismatch": ["c", "zz"]})
    assert (found.loss, found.loss_abs_error, found.max_abs_error, found.max_rel_error) == (3.5, 0.5, 2.0, 4.0)
    assert (found.seconds, found.first_divergence, found.warnings) == (
        2.0,
        "out",
        ("mind", "expect.mismatch: 'zz' matches no tensor"),
    )
    nothing = compared()
    assert all(math.isnan(x) for x in (nothing.loss, nothing.loss_abs_error, nothing.max_abs_error))


@pytest.mark.parametrize(("error", "code"), [(RunError("no", code="GC053"), 3), (ConfigError("no", code="GC032"), 2)])
@pytest.mark.parametrize("expect", ["match", "mismatch"])
def test_what_could_not_be_carried_out_is_never_as_expected(error: Any, code: int, expect: Any) -> None:
    check = failed(MethodConfig(method="naive", options=MethodOptions(expect=expect)), error)
    assert (check.method, check.outcome, check.as_expected) == ("naive", "error", False)
    assert check.error is not None
    assert (check.error.code, check.error.exit_code) == (error.code, code)


@pytest.mark.parametrize(("execution", "code"), [("eager", "GC053"), ("graph", "GC059"), ("xla", "GC059")])
@pytest.mark.parametrize(
    "raised", [ValueError("bad"), SystemExit("bad"), tf.errors.InvalidArgumentError(None, None, "bad")]
)
def test_what_the_users_code_raises_is_an_error_of_the_run(raised: BaseException, execution: str, code: str) -> None:
    problem: Any = SimpleNamespace(execution=execution)
    with pytest.raises(RunError, match="bad") as caught, computing(problem, "vjp"):
        raise raised
    assert caught.value.code == code
    assert caught.value.message.startswith("vjp")
    assert (caught.value.help is None) == (execution == "eager")


@pytest.mark.parametrize(
    "raised", [ConfigError("mine"), RunError("mine", code="GC055"), MemoryError(), KeyboardInterrupt()]
)
def test_what_is_no_mistake_of_the_users_code_passes_through(raised: BaseException) -> None:
    problem: Any = SimpleNamespace(execution="eager")
    with pytest.raises(type(raised)) as caught, computing(problem, "vjp"):
        raise raised
    assert caught.value is raised


def test_a_device_that_is_full_is_out_of_memory() -> None:
    problem: Any = SimpleNamespace(execution="eager")
    with pytest.raises(MemoryError, match="full"), computing(problem, "vjp"):
        raise tf.errors.ResourceExhaustedError(None, None, "full")


def test_the_tolerances_of_a_config() -> None:
    assert tolerance_policy(ToleranceConfig()) == TolerancePolicy()
    overrides: Any = {"a/*": {"rtol": 0.25}, "b": {"atol": 0.0}}
    written = ToleranceConfig(rtol=0.5, atol=0.125, overrides=overrides)
    expected = (ToleranceOverride("a/*", rtol=0.25), ToleranceOverride("b", atol=0.0))
    assert tolerance_policy(written) == TolerancePolicy(0.5, 0.125, expected)

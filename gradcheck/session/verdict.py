"""Verdicts: the outcome of one method by its tensors, and the verdict of a run by its checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.config.sections.methods import METHODS
from gradcheck.errors import ExitCode, most_serious
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.report import CheckReport, Outcome, TensorReport, Unproven, Verdict


def outcome_of(tensors: Sequence[TensorReport]) -> Outcome:
    """Return `mismatch` where any tensor fails, `inconclusive` where some are undecided and none proves anything."""
    if any(tensor.failed for tensor in tensors):
        return "mismatch"
    undecided = any(tensor.status == "inconclusive" for tensor in tensors)
    return "inconclusive" if undecided and not proves(tensors) else "match"


def proves(tensors: Sequence[TensorReport]) -> bool:
    """Whether some gradient was shown equal that is neither dead nor absent."""
    return any(tensor.kind in GRADIENT_KINDS and tensor.status in PROVEN for tensor in tensors)


def judge(
    checks: Sequence[CheckReport], *, trainable: int, unproven: Sequence[Unproven] = ()
) -> tuple[Verdict, ExitCode]:
    """Return the verdict over all checks of a run, and the exit code that says the same.

    A control that mismatches as expected is proof too: the check has been seen to fail. Any of `unproven` fails.
    """
    codes = [
        ExitCode(check.error.exit_code) if check.error else ExitCode.MISMATCH
        for check in checks
        if not check.as_expected
    ]
    codes += [ExitCode.MISMATCH] if unproven else []
    if codes:
        worst = most_serious(codes)
        return ("fail" if worst is ExitCode.MISMATCH else "error"), worst
    controls = any(check.expect == "mismatch" and check.outcome == "mismatch" for check in checks)
    proven = any(check.outcome == "match" and proves(_decided(check, checks)) for check in checks)
    if trainable and (controls or proven):
        return "pass", ExitCode.OK
    return "vacuous", ExitCode.VACUOUS


def _decided(check: CheckReport, checks: Sequence[CheckReport]) -> Sequence[TensorReport]:
    """Return the tensors of a check that may count as proven beside the finite differences among `checks`.

    A method that differentiates by the registered gradients proves nothing of a tensor that finite differences at the
    same point left undecided: those gradients are on trial there.
    """
    if check.rests_on not in _REGISTERED:
        return check.tensors
    differences = [other for other in checks if _name(other) == "numeric" and _point(other) == _point(check)]
    undecided = {t.path for other in differences for t in other.tensors if t.status == "inconclusive"}
    return [t for t in check.tensors if t.path not in undecided]


#: Told by what a check rests on: a candidate may have the name of any method.
_REGISTERED = frozenset(info.rests_on for info in METHODS.values() if info.registered)


def _name(check: CheckReport) -> str:
    return check.method.partition("[")[0] if check.rests_on == METHODS["numeric"].rests_on else ""


def _point(check: CheckReport) -> str:
    """Return the point in a label such as `numeric[zeros]`; empty for the batch as it is."""
    return check.method.partition("[")[2]

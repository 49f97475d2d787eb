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
    open_ = undecided(checks)
    proven = any(check.outcome == "match" and proves(_beside(check, open_)) for check in checks)
    if trainable and (controls or proven):
        return "pass", ExitCode.OK
    return "vacuous", ExitCode.VACUOUS


def undecided(checks: Sequence[CheckReport]) -> frozenset[str]:
    """Return the paths of the tensors that finite differences of the batch as it is did not decide."""
    return frozenset(t.path for c in checks if c.method == "numeric" for t in c.tensors if t.status == "inconclusive")


def _beside(check: CheckReport, open_: frozenset[str]) -> Sequence[TensorReport]:
    """Return the tensors of a check that may count as proven beside those that finite differences left `open_`.

    A method that differentiates by the gradients on trial proves nothing there.
    """
    registered = check.method in METHODS and METHODS[check.method].registered
    return [t for t in check.tensors if not registered or t.path not in open_]

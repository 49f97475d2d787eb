"""The outcome of one check, from its tensors, and the verdict of a run, from its checks."""

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
    """Return `mismatch` if any tensor fails, `inconclusive` if some are undecided and none is proven, else `match`."""
    if any(tensor.failed for tensor in tensors):
        return "mismatch"
    undecided = any(tensor.status == "inconclusive" for tensor in tensors)
    return "inconclusive" if undecided and not proves(tensors) else "match"


def proves(tensors: Sequence[TensorReport]) -> bool:
    """Whether some gradient is shown to be equal that is neither zero nor None on both sides."""
    return any(tensor.kind in GRADIENT_KINDS and tensor.status in PROVEN for tensor in tensors)


def judge(
    checks: Sequence[CheckReport], *, trainable: int, unproven: Sequence[Unproven] = ()
) -> tuple[Verdict, ExitCode]:
    """Return the verdict over all checks of a run, and the exit code that says the same.

    Args:
        checks: all checks of the run.
        trainable: the number of tensors that could be proven; 0 makes the run vacuous.
        unproven: variables without a gradient, under `require: all`; any of them fails the run.
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
    # A control that mismatches as expected is proof too: the comparison is seen to fail on wrong gradients.
    controls = any(check.expect == "mismatch" and check.outcome == "mismatch" for check in checks)
    open_ = undecided(checks)
    proven = any(check.outcome == "match" and proves(_beside(check, open_)) for check in checks)
    if trainable and (controls or proven):
        return "pass", ExitCode.OK
    return "vacuous", ExitCode.VACUOUS


def undecided(checks: Sequence[CheckReport]) -> frozenset[str]:
    """Return the paths of the tensors that `numeric`, at the given batch, left undecided."""
    return frozenset(t.path for c in checks if c.method == "numeric" for t in c.tensors if t.status == "inconclusive")


def _beside(check: CheckReport, open_: frozenset[str]) -> Sequence[TensorReport]:
    """Return the tensors of a check that may count as proven; `open_` are the paths that `numeric` left undecided.

    `forward` and `hvp` prove nothing about these: they use the very gradients that `numeric` could not confirm.
    """
    registered = check.method in METHODS and METHODS[check.method].registered
    return [t for t in check.tensors if not registered or t.path not in open_]

"""The order in which a page tells what was found: the most serious first; and the one word above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reporters.parts.errors import error_line
from gradcheck.reporters.parts.exempt import unexpected
from gradcheck.reporters.parts.required import shortfall
from gradcheck.reporters.parts.selection import is_control, run_errors
from gradcheck.reporters.parts.text import inline
from gradcheck.reporters.parts.words import diagnosis_heading, outcome, verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.mutation import MutationReport, Mutations
    from gradcheck.results.report import CheckReport, Report, RunReport, TensorReport, Verdict

_SEVERITY: tuple[Verdict, ...] = ("error", "fail", "vacuous", "pass")


def overall(runs: Sequence[RunReport | MutationReport]) -> tuple[str, Tone]:
    """Return the most serious verdict of all runs as a word, and its tone."""
    if not runs:
        return "NOTHING RUN", "warn"
    return verdict(min(runs, key=lambda run: _SEVERITY.index(run.verdict)))


def failures_first(report: Report | Mutations) -> list[tuple[int, RunReport | MutationReport]]:
    """Return the runs with their numbers in the report, from 1, the most serious first."""
    runs: Sequence[RunReport | MutationReport] = report.runs
    return sorted(enumerate(runs, 1), key=lambda pair: _SEVERITY.index(pair[1].verdict))


def wrong_checks_first(run: RunReport) -> list[tuple[int, CheckReport]]:
    """Return the checks of a run with their numbers, from 1, those that are not as expected first."""
    return sorted(enumerate(run.checks, 1), key=lambda pair: pair[1].as_expected)


def same_cause(run: RunReport, check: CheckReport) -> str | None:
    """Return the method of an earlier wrong check that has the same diagnoses; None if there is none."""
    if check.as_expected or not check.diagnoses:
        return None
    before = run.checks[: run.checks.index(check)]
    return next((one.method for one in before if not one.as_expected and one.diagnoses == check.diagnoses), None)


def wrong_tensors(check: CheckReport) -> list[TensorReport]:
    """Return the failures of a check: the first wrong tensor, forward values, then about as a backward pass goes."""
    if is_control(check):
        return []

    def rank(numbered: tuple[int, TensorReport]) -> tuple[int, bool, bool, int]:
        place, t = numbered
        return t.step or 0, t.path != check.first_divergence, t.kind not in ("output", "loss"), -place

    return [tensor for _, tensor in sorted(enumerate(check.failures), key=rank)]


def causes(run: RunReport) -> list[str]:
    """Return what is wrong with a run, in a line each: its errors, diagnoses, or else the first wrong tensor."""
    found = [*map(error_line, run_errors(run)), *filter(None, [shortfall(run)])]
    for check in run.checks:
        method = inline(check.method)
        if check.as_expected:
            continue
        if check.error:
            found.append(error_line(check.error))
        elif check.diagnoses:
            found += [f"{diagnosis_heading(one)}: {inline(one.title)}" for one in check.diagnoses]
        elif check.first_divergence:
            found.append(f"{method}: first wrong at {inline(check.first_divergence)}")
        else:
            found.append(f"{method}: {unexpected(check).rstrip(': ') or outcome(check)[0]}")
    return list(dict.fromkeys(found))

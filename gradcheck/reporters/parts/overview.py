"""The order in which a page tells what was found: the most serious first; and the one word above all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reporters.parts.errors import error_line
from gradcheck.reporters.parts.selection import is_control, run_errors
from gradcheck.reporters.parts.text import inline
from gradcheck.reporters.parts.words import diagnosis_heading, verdict

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
    numbered = list(enumerate(report.runs, 1))
    return sorted(numbered, key=lambda pair: _SEVERITY.index(pair[1].verdict))


def wrong_checks_first(run: RunReport) -> list[tuple[int, CheckReport]]:
    """Return the checks of a run with their numbers, from 1, those that are not as expected first."""
    return sorted(enumerate(run.checks, 1), key=lambda pair: pair[1].as_expected)


def wrong_tensors(check: CheckReport) -> list[TensorReport]:
    """Return the failures of a check, the first in the order of the backward pass before the others."""
    if is_control(check):
        return []
    return sorted(check.failures, key=lambda tensor: (tensor.step or 0, tensor.path != check.first_divergence))


def causes(run: RunReport) -> list[str]:
    """Return what is wrong with a run, in a line each: its errors, diagnoses, or else the first wrong tensor."""
    found = [error_line(error) for error in run_errors(run)]
    for check in run.checks:
        if check.error:
            found.append(error_line(check.error))
        elif not check.as_expected and check.diagnoses:
            found += [f"{diagnosis_heading(one)}: {inline(one.title)}" for one in check.diagnoses]
        elif check.first_divergence and not check.as_expected:
            found.append(f"{inline(check.method)}: first wrong at {inline(check.first_divergence)}")
    return list(dict.fromkeys(found))

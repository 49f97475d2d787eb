"""What the report of a config says of one of its tests: it passes, it fails, or it is skipped, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.errors import error_line, error_lines
from gradcheck.reporters.parts.required import shortfall
from gradcheck.reporters.parts.selection import run_errors
from gradcheck.session.configs import envelope

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gradcheck.errors import GradcheckError, Mistake
    from gradcheck.results.report import CheckReport, RunReport


class Failure(Exception):  # noqa: N818 - a test that fails, not an error of the plugin
    """A test that fails: the text, one line for the summary, and the line of a config with mistakes."""

    def __init__(self, text: str, summary: str, line: int = 1) -> None:
        super().__init__(text)
        self.summary, self.line = summary, line


@dataclass(frozen=True, kw_only=True)
class ItemResult:
    """The result of one test.

    Attributes:
        text: the report of its check.
        summary: one line.
        failure: why it fails, in a word or two; empty if it does not.
        skip: whether it is skipped.
        warnings: the warnings of the check, and of its run.
    """

    text: str
    summary: str = ""
    failure: str = ""
    skip: bool = False
    warnings: tuple[str, ...] = ()


def result_of_check(
    run: RunReport, label: str, use: int, *, labels: Collection[str], complete: bool, root: Path
) -> ItemResult:
    """Return what a run says of one test.

    An error in the run, a wrong reference and a trainable variable that `require: all` misses fail every test. A check
    that is inconclusive, proves nothing or does not apply is skipped, as it fails no run; but a run that proves nothing
    fails.

    Args:
        run: the run of the config.
        label: the check's method in the report.
        use: its number among the checks with this label.
        labels: the labels of all checks in the config; another one in the report is the check of the reference itself.
        complete: whether every check of the config was run: only then the config as a whole can have proven nothing.
        root: the folder that the paths of files are relative to.
    """
    trial = [check for check in run.checks if check.method not in labels]
    own = [check for check in run.checks if check.method == label][use : use + 1]
    check = own[0] if own else None
    errors = [*run_errors(run), *(check.error for check in own if check.error)]
    if errors:
        return ItemResult(text=_text(errors, root), summary=error_line(errors[0]), failure="ERROR")
    vacuous, trainable = run.verdict == "vacuous", run.coverage.trainable
    shown = replace(run, checks=(*trial, *own), errors=(), error=None)
    text = envelope([replace(shown, verdict="pass") if vacuous and not complete else shown]).in_brief()
    wrong = next((check for check in shown.checks if not check.as_expected), None)
    if wrong:
        return ItemResult(text=text, summary=words.conclusion(wrong, trainable), failure=words.outcome(wrong)[0])
    if run.unproven:
        return ItemResult(text=text, summary=shortfall(run), failure="not proven")
    if vacuous and complete:
        return ItemResult(text=text, summary=words.vacuous_advice(run), failure="nothing proven")
    warnings = (*run.warnings, *(check.warnings if check else ()))
    reason = _unproven(run, check, label)
    return ItemResult(text=text, summary=reason, skip=bool(reason), warnings=warnings)


def _unproven(run: RunReport, check: CheckReport | None, label: str) -> str:
    """Return why a check that does not fail proves nothing; empty for one that does prove something."""
    if check is None:
        notes = [note for note in run.notes if note.startswith(f"{label} does not apply")]
        return "; ".join(notes) or f"{label} was not checked"
    if check.outcome == "inconclusive" or words.proves_nothing(check):
        return words.conclusion(check, run.coverage.trainable)
    return ""


def broken(error: GradcheckError, root: Path) -> Failure:
    """Return the failure of a config with mistakes: all of them, with their places relative to `root`."""
    first = error.mistakes[0]
    return Failure(_text(error.mistakes, root), error_line(first), first.line or 1)


def _text(errors: Iterable[Mistake], root: Path) -> str:
    """Return errors as people read them, with the paths of files below `root` relative to it."""
    return "\n\n".join("\n".join(error_lines(_relative(error, root))) for error in errors)


def _relative(error: Mistake, root: Path) -> Mistake:
    inside = error.file is not None and Path(error.file).is_relative_to(root)
    return replace(error, file=str(Path(error.file or "").relative_to(root))) if inside else error

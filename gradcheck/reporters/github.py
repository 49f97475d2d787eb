"""GitHub Actions workflow commands: annotations on the run and on the changed files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.phrases import first
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, run_errors
from gradcheck.reporters.parts.text import inline, multiline
from gradcheck.reporters.parts.training import label

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import CheckReport, Report, RunReport

#: GitHub shows ten annotations of a kind in a step: a check is one, of a few lines. The step summary has the rest.
_MOST_DIAGNOSES = 2
_MOST_TENSORS = 3


def render(report: Report, options: RenderOptions) -> str:
    """Render one command a line: errors for failures, warnings for vacuous results, and a notice as the summary."""
    commands = [command for run in report.runs for command in _run(run, tensors=options.show != "summary")]
    return "\n".join([*commands, _command("notice", words.summary_line(report), title="gradcheck")])


def error_annotations(errors: Iterable[Mistake]) -> str:
    """Render errors that belong to no run, one command a line."""
    return "\n".join(_error(error, "gradcheck", error.file) for error in errors)


def _run(run: RunReport, *, tensors: bool) -> Iterator[str]:
    title = f"gradcheck {run.name}"
    for error in run_errors(run):
        yield _error(error, title, config_name(run))
    for check in run.checks:
        yield from _check(run, check, title=f"{title} {check.method}", tensors=tensors)
    if run.unproven:
        text = [shortfall(run), *first(shortfall_lines(run), _MOST_TENSORS)]
        yield _command("error", "\n".join(text), file=run.config, title=title)
    yield from _said(run, file=run.config, title=title)
    if run.verdict == "vacuous":
        yield _command("warning", words.vacuous_advice(run), file=run.config, title=title)


def _said(report: RunReport | CheckReport, **properties: str) -> Iterator[str]:
    """Yield a warning for each text that needs attention, and a notice, which has no colour, for each note."""
    for kind, texts in (("warning", report.warnings), ("notice", report.notes)):
        yield from (_command(kind, text, **properties) for text in texts)


def _check(run: RunReport, check: CheckReport, *, title: str, tensors: bool) -> Iterator[str]:
    place = _place(check, run)
    if check.error:
        yield _error(check.error, title, config_name(run))
    elif check.outcome == "inconclusive":
        yield _command("warning", words.conclusion(check, run.coverage.trainable), **place, title=title)
    elif not check.as_expected:
        yield _command("error", _failure(check, run, tensors=tensors), **place, title=title)
    yield from _said(check, **place, title=title)


def _place(check: CheckReport, run: RunReport) -> dict[str, str]:
    """Return file and line of the first mistake in a script, or of what the check asked for; else the config alone."""
    for diagnosis in check.diagnoses:
        name, _, line = (diagnosis.line or "").rpartition(":")
        file = diagnosis.file or (run.config if name == Path(run.config).name else "")
        if line and file:
            return {"file": file, "line": line}
    file, _, line = (check.asked_at or "").rpartition(":")
    return {"file": file, "line": line} if file else {"file": run.config}


def _failure(check: CheckReport, run: RunReport, *, tensors: bool) -> str:
    """Return the conclusion, the first explanations, and the figures of the first failing tensors."""
    explained = list(map(words.diagnosis_sentence, check.diagnoses)) or words.explanations(check)
    text = [words.conclusion(check, run.coverage.trainable), *first(explained, _MOST_DIAGNOSES)]
    failing = [tensor for tensor in check.tensors if tensors and fails(tensor, check)]
    figures = [": ".join([f"{label(t)} {t.status}", *words.failure_lines(t, check.sides)[:1]]) for t in failing]
    return "\n".join([*text, *first(figures, _MOST_TENSORS)])


def _error(error: Mistake, title: str, otherwise: str | None) -> str:
    """Return the annotation of an error at its place, or at the file `otherwise`."""
    message = "\n".join([f"error[{error.code}]: {error.message}", *([f"help: {error.help}"] if error.help else [])])
    place = {"line": error.line, "col": error.column} if error.file else {}
    return _command("error", message, file=error.file or otherwise, **place, title=title)


def _command(kind: str, message: str, **properties: str | int | None) -> str:
    """Return `::kind file=...,title=...::message`, with GitHub's syntax characters escaped as %XX."""
    if properties.get("file"):
        properties["file"] = _in_repository(str(properties["file"]))
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value not in (None, ""))
    return f"::{kind} {written}::{_data(multiline(message))}"


def _in_repository(file: str) -> str:
    """Return the path as GitHub reads it, below the checkout of the job, whatever folder the job's step runs in."""
    below = Path(os.path.relpath(file, os.environ.get("GITHUB_WORKSPACE") or None))
    return file if below.parts[:1] == ("..",) else below.as_posix()


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(value: str | int | None) -> str:
    return _data(inline(str(value))).replace(":", "%3A").replace(",", "%2C")

"""One line for each check and each failing tensor, for grep: `config: word ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import and_more, plural
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.at_points import at_points
from gradcheck.reporters.parts.errors import error_line, error_place
from gradcheck.reporters.parts.exempt import excused, unneeded
from gradcheck.reporters.parts.required import shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, is_control, run_errors
from gradcheck.reporters.parts.text import index, inline, number, pair
from gradcheck.reporters.parts.training import first_wrong, label
from gradcheck.reporters.parts.worst import WITHIN_ROUNDING, only_rounding, worst_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import CheckReport, Report, RunReport, TensorReport


def render(report: Report, options: RenderOptions) -> str:
    """Render the report; every line starts with the config, so that lines of several runs can be told apart."""
    tensors = options.show != "summary"
    return "\n".join(
        f"{config_name(run)}: {line}" for run in report.runs for line in _run(run, tensors=tensors, most=options.most)
    )


def _run(run: RunReport, *, tensors: bool, most: int | None) -> Iterator[str]:
    for error in run_errors(run):
        place = error_place(error)
        yield error_line(error) + (f" at {place}" if place else "")
    for check in run.checks:
        yield from _check(check, run.coverage.trainable, tensors=tensors, most=most)
    for line in shortfall_lines(run):
        yield f"FAIL require: all: {line}"
    for warning in run.warnings:
        yield f"warning {inline(warning)}"
    for note in run.notes:
        yield f"note {inline(note)}"
    if run.verdict == "vacuous":
        yield f"vacuous {words.vacuous_advice(run)}"


def _check(check: CheckReport, trainable: int, *, tensors: bool, most: int | None) -> Iterator[str]:
    method = inline(check.method)
    yield _verdict(check, trainable)
    for diagnosis in check.diagnoses:
        yield f"diagnosis {method} {inline(words.diagnosis_sentence(diagnosis))}"
    if check.second_opinion:
        yield f"second opinion {method} {inline(check.second_opinion)}"
    failing = [tensor for tensor in check.tensors if tensors and fails(tensor, check)]
    for tensor in failing[:most]:
        yield _tensor(check, tensor)
    if most is not None:
        yield from (f"FAIL {method} {more} failing tensors" for more in and_more(len(failing) - most))
    for warning in check.warnings:
        yield f"warning {method} {inline(warning)}"
    for note in check.notes:
        yield f"note {method} {inline(note)}"


def _verdict(check: CheckReport, trainable: int) -> str:
    """Return a line such as `pass vjp: 6/6 weights match, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08`."""
    if check.error:
        return f"{error_line(check.error)} ({inline(check.method)})"
    proven, total = words.weight_counts(check, trainable)
    word = "pass" if check.as_expected else "FAIL"
    if check.as_expected and (check.outcome == "inconclusive" or words.proves_nothing(check)):
        word = "inconclusive" if check.outcome == "inconclusive" else "vacuous"
    note = ", mismatch as expected" if is_control(check) else ", match not expected" if not check.failures else ""
    note = "" if check.expect == "match" else note
    note += f", no mismatch of {unneeded(check)}" if check.unneeded else ""
    exempt = sum(map(excused, check.tensors))
    note += f", {plural(exempt, 'exempt tensor')} different as expected" if exempt else ""
    worst = None if word == "vacuous" else worst_tensor(check.tensors)
    figures = f", worst {label(worst)} {_figures(worst, ' ')}" if worst and worst.max_rel_error else ""
    rounding = only_rounding(check.tensors) and word != "vacuous"
    if (rounding or (worst and worst.max_rel_error == 0)) and not check.failures:
        figures = f", {'the others ' if exempt else ''}{WITHIN_ROUNDING if rounding else 'bit for bit'}"
    step = f", {first_wrong(check)}" if first_wrong(check) else ""
    weights = f"{proven}/{total} weights match" if total else "no weights"
    if check.points:
        return f"{word} {inline(check.method)}: {at_points(check.points)}"
    others = [tensor for tensor in check.failures if tensor.kind != "weight"]
    wrong = f", other differences: {words.kinds(others)}" if others else ""
    return f"{word} {inline(check.method)}: {weights}{wrong}{note}{step}{figures}"


def _tensor(check: CheckReport, tensor: TensorReport) -> str:
    """Return a line such as `FAIL vjp conv_0/kernel mismatch max_abs=1 max_rel=1 worst[0,3]=... (24/24 elements)`."""
    parts = [f"FAIL {inline(check.method)} {label(tensor)} {tensor.status} {_figures(tensor, '=')}"]
    if tensor.worst:
        reference, candidate = pair(tensor.worst.reference, tensor.worst.candidate)
        left, right = (side.replace(" ", "_") for side in check.sides.of(tensor.kind))
        parts.append(f"worst{index(tensor.worst.index)} {left}={reference} {right}={candidate}")
    parts.append(f"({tensor.mismatched_elements}/{tensor.elements} elements)")
    return " ".join(parts) + (f" {inline(tensor.note)}" if tensor.note else "")


def _figures(tensor: TensorReport, between: str) -> str:
    return f"max_abs{between}{number(tensor.max_abs_error)} max_rel{between}{number(tensor.max_rel_error)}"

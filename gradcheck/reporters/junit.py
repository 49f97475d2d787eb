"""JUnit XML for CI systems: a suite for each config, a test case for each check and for each of its tensors."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections import Counter
from typing import TYPE_CHECKING

from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.errors import error_lines
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, run_errors, shown
from gradcheck.reporters.parts.text import inline, multiline
from gradcheck.reporters.parts.training import label, schedule_heading, stage_line

if TYPE_CHECKING:
    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import CheckReport, Report, RunReport, TensorReport

_SKIPPED = {
    "dead": "dead: zero on both sides, proves nothing",
    "absent": "absent: no gradient on either side, proves nothing",
    "inconclusive": "inconclusive: the error bar does not decide",
}


def render(report: Report, options: RenderOptions) -> str:
    """Render one `testsuites` document. Expected results pass, vacuous checks are skipped, and a vacuous run fails."""
    root = ET.Element("testsuites", name="gradcheck")
    for run in report.runs:
        root.append(_suite(run, options))
    _count(root)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode")


def _suite(run: RunReport, options: RenderOptions) -> ET.Element:
    suite = ET.Element("testsuite", name=config_name(run))
    properties = ET.SubElement(suite, "properties")
    for name, value in (("seed", str(run.seed)), ("precision", run.precision), ("execution", run.execution)):
        ET.SubElement(properties, "property", name=name, value=inline(value))
    for error in run_errors(run):
        _error(_case(suite, run, inline(run.name), "run"), error)
    for check in run.checks:
        _check(suite, run, check, options)
    if run.unproven:
        case = _case(suite, run, inline(run.name), "require")
        _result(case, "failure", "unproven", shortfall(run), "\n".join(shortfall_lines(run)))
    if run.verdict == "vacuous":
        advice = words.vacuous_advice(run)
        _result(_case(suite, run, inline(run.name), "coverage"), "failure", "vacuous", advice, advice)
    _output(suite, [*_labelled("warning", run.warnings), *_labelled("note", run.notes)])
    _count(suite)
    return suite


def _check(suite: ET.Element, run: RunReport, check: CheckReport, options: RenderOptions) -> None:
    """Add the case of the check itself, then those of its tensors; in an expected mismatch, differing tensors pass."""
    method = inline(check.method)
    case = _case(suite, run, inline(run.name), method, check.seconds)
    conclusion = words.conclusion(check, run.coverage.trainable)
    if check.error:
        _error(case, check.error)
    elif not check.as_expected:
        _result(case, "failure", check.outcome, conclusion, "\n\n".join([conclusion, *words.explanations(check)]))
    elif check.outcome == "inconclusive" or words.proves_nothing(check):
        ET.SubElement(case, "skipped", message=conclusion)
    schedule = check.schedule
    stages = [stage_line(stage, run.segments) for stage in schedule.stages] if schedule else []
    said = [*_labelled("warning", check.warnings), *_labelled("note", check.notes)]
    _output(case, [*said, *([schedule_heading(schedule), *stages] if schedule else [])])
    uses = Counter(map(label, check.tensors))
    for tensor in shown(check, options.show):
        name = label(tensor) if uses[label(tensor)] == 1 else f"{tensor.kind} {label(tensor)}"
        _tensor(_case(suite, run, f"{inline(run.name)}.{method}", name), tensor, check)


def _tensor(case: ET.Element, tensor: TensorReport, check: CheckReport) -> None:
    if fails(tensor, check):
        found = words.failure_lines(tensor, check.sides)
        _result(case, "failure", tensor.status, "; ".join([tensor.status, *found]), "\n".join(found))
    elif tensor.status in _SKIPPED:
        note = f" ({tensor.note})" if tensor.note else ""
        ET.SubElement(case, "skipped", message=inline(_SKIPPED[tensor.status] + note))


def _case(suite: ET.Element, run: RunReport, classname: str, name: str, seconds: float = math.nan) -> ET.Element:
    time = {} if math.isnan(seconds) else {"time": f"{seconds:.6f}"}
    return ET.SubElement(suite, "testcase", {"classname": classname, "name": name, "file": inline(run.config), **time})


def _labelled(label_: str, texts: tuple[str, ...]) -> list[str]:
    return [f"{label_}: {text}" for text in texts]


def _output(element: ET.Element, found: list[str]) -> None:
    """Add the text that CI systems show beside the result."""
    if found:
        ET.SubElement(element, "system-out").text = multiline("\n".join(found))


def _result(case: ET.Element, tag: str, kind: str, message: str, text: str) -> None:
    element = ET.SubElement(case, tag, message=inline(message), type=inline(kind))
    element.text = multiline(text)


def _error(case: ET.Element, error: Mistake) -> None:
    _result(case, "error", error.code, error.message, "\n".join(error_lines(error)))


def _count(element: ET.Element) -> None:
    """Set the numbers of cases below `element`, and of those that failed, raised or were skipped."""
    element.set("tests", str(len(element.findall(".//testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(len(element.findall(f".//testcase/{tag}"))))

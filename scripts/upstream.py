"""The page of wrong gradients in Keras and TensorFlow: `python -m scripts.upstream sweep.json`, of a whole sweep.

Writes docs/upstream.json, the findings alone, for `gradcheck ops --known`, and docs/upstream.md. A finding without a
script that shows it in a new process is left out. Each other one needs a sentence in scripts/upstream_notes.yaml by
somebody who looked into it: without one the page is not written.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from gradcheck.reporters.sweep import totals
from gradcheck.results.report import Report
from gradcheck.sweeping.reproducer import differ, ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.results.report import Diagnosis, RunReport

ROOT = Path(__file__).resolve().parent.parent
PAGE, KNOWN = ROOT / "docs" / "upstream.md", ROOT / "docs" / "upstream.json"
NOTES = Path(__file__).with_name("upstream_notes.yaml")
_FIRST = ("numeric", "float32", "forward", "graph", "xla", "jax", "torch")
_EVIDENCE = re.compile(r"got (?P<got>\S+), right (?P<right>\S+); by (?P<tensors>.*) at (?P<points>.*)")

_INTRODUCTION = """# Wrong gradients in Keras and TensorFlow

What `gradcheck ops` finds in Keras {keras} with TensorFlow {tensorflow}: the gradient of a function, or its second
derivative, is another number than the slope of the function, which is finite there, or is NaN. Most are wrong at one
point alone: zero, a tie, equal elements. Padding, one-hot inputs, masks and zero initialisers meet such points; random
test data never does. Where a function has a kink every slope between the two sides is right, and nothing is said here.

{totals}

Each script prints what TensorFlow gets, and a difference quotient of the function beside it. They are run by a test,
which fails once a function is mended. [One module](ops.md) says how to sweep, and `gradcheck ops --known
docs/upstream.json` fails by what is new alone. [Training that fails in Keras itself](upstream-training.md) has the
faults that no single function shows.
"""


@dataclass(frozen=True)
class Finding:
    """A mistake of a function, by one script; `checks` are all that make it."""

    function: str
    call: str
    checks: tuple[str, ...]
    diagnosis: Diagnosis

    @property
    def figures(self) -> re.Match[str]:
        """What the script prints, and where the mistake shows."""
        found = _EVIDENCE.fullmatch(self.diagnosis.evidence)
        if found is None:
            raise ValueError(self.diagnosis.evidence)
        return found

    @property
    def order(self) -> str:
        """Which derivative is wrong."""
        return "first" if self.checks[0] in _FIRST else "second"


def findings(run: RunReport) -> Iterator[Finding]:
    """Yield the mistakes of a function: what several checks of one order find in one call is one."""
    alike: dict[tuple[str, bool], list[tuple[str, Diagnosis]]] = {}
    for check in run.checks:
        for one in check.diagnoses:
            alike.setdefault((one.place or "", check.method in _FIRST), []).append((check.method, one))
    for (call, _), found in alike.items():
        shown = next((one for _, one in found if one.reproducer), found[0][1])
        yield Finding(run.name, call, tuple(dict.fromkeys(name for name, _ in found)), shown)


def known_of(report: Report) -> Report:
    """Return the report with the findings alone that a script shows in this process."""
    runs = (_shown(run) for run in report.runs if run.verdict == "fail")
    return replace(report, runs=tuple(run for run in runs if run.checks))


def _shown(run: RunReport) -> RunReport:
    """Return the checks of a function whose mistakes a script shows, with these alone."""
    checks = []
    for check in run.checks:
        shown = tuple(found for one in check.diagnoses if (found := _again(run.name, check.method, one)))
        places = {one.place for one in shown}
        rows = tuple(tensor for tensor in check.tensors if tensor.layer in places)
        checks += [replace(check, diagnoses=shown, tensors=rows)] if shown else []
    return replace(run, checks=tuple(checks))


def _again(function: str, check: str, one: Diagnosis) -> Diagnosis | None:
    """Return a mistake with the figures that its script prints in this process; None if it does not show it."""
    again = ran(one.reproducer) if one.reproducer else None
    if again is None or not differ(again.got, again.right):
        sys.stderr.write(f"left out: {function}, {check}, {one.place}: no script shows it\n")
        return None
    return replace(one, evidence=f"got {again.got}, right {again.right}; {one.evidence.partition('; ')[2]}")


def document(report: Report, notes: dict[str, str], swept: str) -> str:
    """Return the page.

    Args:
        report: the findings.
        notes: why each function is wrong, by its name.
        swept: what was swept, in sentences.
    """
    missing = [run.name for run in report.runs if run.name not in notes]
    stale = notes.keys() - {run.name for run in report.runs}
    if missing or stale:
        raise SystemExit(f"{NOTES}: not looked into: {missing}; no longer found: {sorted(stale)}")
    found = [finding for run in report.runs for finding in findings(run)]
    environment = report.environment
    parts = [_INTRODUCTION.format(keras=environment.keras, tensorflow=environment.tensorflow, totals=swept)]
    parts.append(
        "\n".join(
            ["| function | derivative | at | got | right |", "| --- | --- | --- | --- | --- |", *map(_row, found)]
        )
    )
    for run in report.runs:
        parts.append(f"## {run.name}\n\n{notes[run.name]}")
        parts += [_section(finding) for finding in found if finding.function == run.name]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _row(finding: Finding) -> str:
    figures = finding.figures
    call = f"`{finding.call}`"
    return f"| {call} | {finding.order} | {figures['points']} | {_short(figures['got'])} | {_short(figures['right'])} |"


def _short(number: str) -> str:
    return f"{float(number):.6g}" if number != "None" else number


def _section(finding: Finding) -> str:
    figures = finding.figures
    where = f"By {', '.join(finding.checks)}, at {figures['points']}:"
    printed = f"got {_short(figures['got'])}\nright {_short(figures['right'])}"
    return f"{where}\n\n```python\n{finding.diagnosis.reproducer}```\n\n```text\n{printed}\n```"


def main(path: str) -> None:
    """Write both files."""
    whole = Report.from_json(Path(path).read_text(encoding="utf-8"))
    swept = " ".join(totals(whole))
    known = known_of(whole)
    PAGE.write_text(document(known, yaml.safe_load(NOTES.read_text(encoding="utf-8")), swept), encoding="utf-8")
    KNOWN.write_text(known.to_json(indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])

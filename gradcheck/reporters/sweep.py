"""The report of `gradcheck ops` for people at a terminal: a matrix of functions by checks, and below what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import plural, some
from gradcheck.reporters import REPORTERS
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.selection import run_errors
from gradcheck.reporters.parts.text import inline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.reporters.interface import RenderOptions, Reporter
    from gradcheck.reporters.parts.page import Part
    from gradcheck.results.point_counts import PointCounts
    from gradcheck.results.report import CheckReport, Diagnosis, Report, RunReport

#: What a cell means, by its mark.
_LEGEND = (
    ("ok", "right at every point"),
    ("code", "wrong at some point"),
    ("=", "as wrong as the first check of its order"),
    ("?", "nothing decided"),
    ("conv", "meant to differ, by its documentation"),
    ("-", "not tried: the function or TensorFlow raises, or the first order is wrong"),
)


def render(report: Report, options: RenderOptions) -> str:
    """Render the matrix, then each mistake with its values and a script, then what was not checked and why."""
    page = Page(options.width, color=options.color)
    swept = [run for run in report.runs if run.checks]
    rows = swept if options.show == "all" else [run for run in swept if run.verdict != "pass"]
    if rows and options.show != "summary":
        names = list(dict.fromkeys(check.method for run in swept for check in run.checks))
        page.table(
            ("function", "points", *(name.replace("_over_", "/") for name in names)),
            (_row(run, names) for run in rows),
            right=frozenset({1}),
            indent=0,
        )
        page.line()
        for mark, meaning in _LEGEND:
            page.line((f"{mark:<5}", "bold"), meaning, indent=2)
        page.line()
        for run in rows:
            _mistakes(page, run, verbose=options.verbose)
    for run in report.runs:
        for error in run_errors(run):
            page.block((f"error[{error.code}]", "bold red"), f"{inline(run.name)}: {inline(error.message)}", indent=0)
    _left(page, report, options)
    for line in totals(report):
        page.paragraph(line)
    return page.text()


def reproducers(report: Report) -> str:
    """Return the scripts that show what is wrong, each with the figures that it prints as a comment above."""
    found = [(run, check, one) for run in report.runs for check in run.checks for one in check.diagnoses]
    scripts = [
        f"# {run.name}, {check.method}: {one.code}, {one.evidence}\n{one.reproducer or '# no short script shows it'}"
        for run, check, one in found
    ]
    return "\n".join(scripts) or "# nothing is wrong"


def totals(report: Report) -> Iterator[str]:
    """Yield what was done in sentences: functions, calls, points, checks, orders and dtypes."""
    swept = [run for run in report.runs if run.checks]
    counts = [check.points for run in swept for check in run.checks if check.points]
    points = sum(max((c.points.all for c in run.checks if c.points), default=0) for run in swept)
    second = sum(1 for run in swept if any(c.method == "second" for c in run.checks))
    calls = sum(len(run.inputs) for run in swept)
    yield (
        f"{plural(len(swept), 'function')} in {plural(calls, 'call')}, at {plural(points, 'point')} in float64 and "
        f"float32, {second} of them in second order: {plural(sum(c.all for c in counts), 'check')}, "
        f"{sum(c.mismatch for c in counts)} wrong, {sum(c.same for c in counts)} as wrong, "
        f"{sum(c.inconclusive for c in counts)} undecided, {sum(c.convention for c in counts)} by convention."
    )
    yield f"{plural(sum(run.verdict == 'fail' for run in report.runs), 'function')} with wrong derivatives."


def _row(run: RunReport, names: list[str]) -> list[Part]:
    checks = {check.method: check for check in run.checks}
    points = max((check.points.all for check in run.checks if check.points), default=0)
    name: Part = (inline(run.name), "bold red" if run.verdict == "fail" else "")
    return [name, str(points), *(_cell(checks.get(each)) for each in names)]


def _cell(check: CheckReport | None) -> Part:
    if check is None or check.points is None:
        return ("-", "dim")
    if check.outcome == "mismatch":
        return (" ".join(dict.fromkeys(one.code for one in check.diagnoses)), words.STYLES["bad"])
    return _mark(check.points)


def _mark(points: PointCounts) -> Part:
    if points.same:
        return ("=", words.STYLES["bad"])
    if points.convention:
        return ("conv", "dim")
    return ("ok", words.STYLES["good"]) if points.match else ("?", words.STYLES["warn"])


def _mistakes(page: Page, run: RunReport, *, verbose: bool) -> None:
    for check in run.checks:
        for one in check.diagnoses:
            _mistake(page, run, check, one)
    if verbose:
        for note in run.notes:
            page.block(("note", "cyan"), f"{inline(run.name)}: {inline(note)}", indent=2)


def _mistake(page: Page, run: RunReport, check: CheckReport, one: Diagnosis) -> None:
    heading = (f"{one.code} {inline(run.name)}", words.STYLES["bad"])
    page.paragraph(heading, f", {check.method}: {inline(one.title)}")
    page.paragraph(f"{inline(one.place or '')}: {inline(one.evidence)}", indent=2)
    for line in (one.reproducer or "").splitlines():
        page.line((line, "dim"), indent=4)
    page.line()


def _left(page: Page, report: Report, options: RenderOptions) -> None:
    """Add the functions that were not checked, by their reason."""
    reasons: dict[str, list[str]] = {}
    for run in report.runs:
        if run.verdict == "vacuous":
            why = run.notes[0].partition(": ")[2] if run.notes else "nothing was decided at any point"
            reasons.setdefault(why, []).append(run.name)
    if reasons:
        page.paragraph((f"{plural(sum(map(len, reasons.values())), 'function')} not checked:", "bold"))
    for why, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        most = len(names) if options.show == "all" or options.width is None else 4
        page.paragraph(f"{inline(why)}: {inline(some(names, most))}", indent=2)
    if reasons:
        page.line()


#: The formats of `gradcheck ops --format`, by name: those of any report, and a matrix as the table.
SWEEP_REPORTERS: dict[str, Reporter] = {**REPORTERS, "table": render}

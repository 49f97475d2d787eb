"""The report for people at a terminal: headings, one row for each tensor, and a conclusion in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from gradcheck.phrases import plural
from gradcheck.reporters.parts import training, words
from gradcheck.reporters.parts.columns import LINES, Layout
from gradcheck.reporters.parts.errors import error_excerpt, error_place
from gradcheck.reporters.parts.exempt import expectation, status_label
from gradcheck.reporters.parts.legend import add_legend, terms_of_failures
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import (
    config_name,
    fails,
    grouped,
    is_audit,
    is_control,
    layers_in_brief,
    run_errors,
    shown,
)
from gradcheck.reporters.parts.text import inline, named, plain_number, seconds, size
from gradcheck.reporters.parts.verdicts import add_verdicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.report import (
        CheckReport,
        Diagnosis,
        Report,
        RunReport,
        SegmentReport,
        TensorReport,
    )
    from gradcheck.results.schedule import ScheduleReport

_Row = TypeVar("_Row")
_IN_BRIEF = 8
_WIDE = 1_000


def render(report: Report, options: RenderOptions) -> str:
    """Render every run, then what the figures mean, and last the verdicts in a small table."""
    page, terms = Page(options.width, color=options.color), set[str]()
    for run in report.runs:
        _run(page, run, options, terms)
        page.line()
    if options.verbose:
        _environment(page, report)
        page.line()
    _summary(page, report, terms)
    return page.text()


def _run(page: Page, run: RunReport, options: RenderOptions, terms: set[str]) -> None:
    word, tone = words.verdict(run)
    file = f" ({inline(run.config)})" if run.config else ""
    page.paragraph((word, words.STYLES[tone] + " reverse"), " ", (inline(run.name), "bold"), file)
    called = f", called with {inline(', '.join(run.inputs))}" if run.inputs else ""
    page.paragraph(f"{inline(run.precision)}, {inline(run.execution)}, seed {run.seed}{called}", indent=2)
    for error in run_errors(run):
        _error(page, error, indent=2)
    if options.show != "summary":
        cut = not options.verbose and any(map(is_audit, run.checks))
        _segments(page, run.segments, options, most=_IN_BRIEF if cut else None)
    if run.reference:
        page.paragraph(
            f"reference: {inline(run.reference.method)}, loss {plain_number(run.reference.loss)}, "
            f"{words.norm(run)}, {seconds(run.reference.seconds)}{words.verified(run)}",
            indent=2,
        )
    for check in run.checks:
        page.line()
        _check(page, check, run, options, terms)
    if run.unproven:
        page.line()
        page.paragraph((shortfall(run), words.STYLES["bad"]), indent=2)
    for line in shortfall_lines(run):
        page.paragraph(line, indent=4)
    _warnings(page, run.warnings)
    _notes(page, run.notes)
    if run.verdict == "vacuous":
        page.paragraph((words.vacuous_advice(run), "bold yellow"), indent=2)


def _segments(page: Page, segments: tuple[SegmentReport, ...], options: RenderOptions, *, most: int | None) -> None:
    """Add one line for each segment; of many, a terminal shows only the first; elsewhere with at most `most` layers."""
    if not segments:
        return
    page.line(plural(len(segments), "segment"), indent=2)
    first = _first(segments, options)
    for segment in first:
        layers = layers_in_brief(segment) if page.width else named(segment.layers, most=most or len(segment.layers))
        parameters = plural(segment.parameters, "parameter")
        page.paragraph(f"{segment.index}: {inline(segment.name)} ({parameters}): {layers}", indent=4)
    _more(page, len(segments) - len(first))


def _first(rows: Sequence[_Row], options: RenderOptions) -> Sequence[_Row]:
    """Return all rows; for a terminal only the first of many."""
    return rows if options.width is None or options.verbose else rows[:_IN_BRIEF]


def _more(page: Page, count: int, what: str = "(-v lists them)") -> None:
    if count:
        page.line(f"and {count} more {what}", indent=4)


def _check(page: Page, check: CheckReport, run: RunReport, options: RenderOptions, terms: set[str]) -> None:
    word, tone = words.outcome(check)
    took = "" if math.isnan(check.seconds) else f", {seconds(check.seconds)}"
    peak = "" if check.peak_bytes is None else f", peak {size(check.peak_bytes)}"
    page.paragraph(
        (inline(check.method), "bold"),
        f" (expect {expectation(check)}): ",
        (word, words.STYLES[tone]),
        f"{took}{peak}",
        indent=2,
    )
    if is_audit(check):
        _diagnoses(page, check.diagnoses, tone)
    _rows(page, check, run, options, terms)
    if options.show != "summary":
        _contributions(page, check, run)
    if check.schedule and (options.show == "all" or options.verbose):
        _schedule(page, check.schedule, run, options)
    if check.error:
        _check_error(page, check, run)
    if check.first_divergence:
        page.paragraph(f"first wrong in backward order: {inline(check.first_divergence)}", indent=4)
    _warnings(page, check.warnings)
    _notes(page, check.notes)
    if not check.error:
        page.paragraph((words.conclusion(check, run.coverage.trainable), words.STYLES[tone]), indent=2)
    if words.rests_on(check):
        page.paragraph((words.rests_on(check), "dim"), indent=2)
    if check.second_opinion:
        page.paragraph(inline(check.second_opinion), indent=2)
    if not is_audit(check):
        _diagnoses(page, check.diagnoses, tone)


def _rows(page: Page, check: CheckReport, run: RunReport, options: RenderOptions, terms: set[str]) -> None:
    """Add the header, then each group under its subheading; the lines below a failing row explain the failure."""
    tensors = shown(check, options.show)
    hidden = len(check.tensors) - len(tensors)
    if tensors:
        layout = Layout.of(tensors, page.width and page.width - 6, None if is_control(check) else check.sides)
        page.line((layout.header, "dim"), indent=6)
        groups = grouped(tensors, run.segments)
        failing = [id(tensor) for group in groups for tensor in group.tensors if fails(tensor, check)]
        cut = is_audit(check) and not options.verbose
        explained = failing[:_IN_BRIEF] if cut else _first(failing, options)
        for group in groups:
            page.paragraph((group.title, "bold"), indent=4)
            for tensor in group.tensors:
                _row(page, tensor, check, layout)
                below = [] if id(tensor) in failing else words.unproven_lines(tensor)
                if id(tensor) in explained:
                    below = words.failure_lines(tensor, check.sides, worst=not layout.worst)
                    below += [f"lines: {LINES.cell(tensor)}"] if tensor.lines and LINES not in layout.columns else []
                for line in below:
                    page.paragraph(line, indent=8)
        _more(page, len(failing) - len(explained), "failing rows (-v says how far each is off)")
        terms.update(column.title for column in layout.columns)
        terms.update(status_label(tensor) for tensor in tensors)
        terms.update(terms_of_failures(tensor for tensor in tensors if id(tensor) in explained))
    if hidden and options.show == "failed":
        page.line(f"{plural(hidden, 'row')} not shown (--show all)", indent=4)


def _row(page: Page, tensor: TensorReport, check: CheckReport, layout: Layout) -> None:
    """Add the row of a tensor; a path that does not fit stands above in full."""
    if layout.is_long(tensor):
        page.paragraph(inline(tensor.path), indent=6)
    before, status, after = layout.row(tensor)
    page.line(before, (status, words.STYLES[words.status_tone(tensor, check)]), after, indent=6)


def _contributions(page: Page, check: CheckReport, run: RunReport) -> None:
    """Add what each chunk of a time split contributes: a chunk that adds little or nothing shows truncation."""
    if check.contributions:
        page.heading("what each chunk adds to the gradient (2-norm)", "bold", indent=4)
    for line in words.contribution_lines(check, run.segments):
        page.paragraph(line, indent=6)


def _schedule(page: Page, schedule: ScheduleReport, run: RunReport, options: RenderOptions) -> None:
    """Add one line for each stage; for a terminal long work is shortened in the middle."""
    page.heading(training.schedule_heading(schedule), "bold", indent=4)
    first = _first(schedule.stages, options)
    for stage in first:
        page.heading(training.stage_line(stage, run.segments, page.width and page.width - 6), indent=6)
    _more(page, len(schedule.stages) - len(first))


def _diagnoses(page: Page, diagnoses: tuple[Diagnosis, ...], tone: Tone) -> None:
    """Add the diagnoses in words, and the command that explains their codes."""
    for diagnosis in diagnoses:
        page.block((words.diagnosis_heading(diagnosis), words.STYLES[tone]), words.diagnosis_text(diagnosis), indent=2)
    if diagnoses:
        codes = " ".join(dict.fromkeys(diagnosis.code for diagnosis in diagnoses))
        page.paragraph((f"more: gradcheck explain {codes}", "dim"), indent=2)


def _check_error(page: Page, check: CheckReport, run: RunReport) -> None:
    """Add the error of a check, in full where it is the first of the run's checks to have it."""
    first = next(other for other in run.checks if other.error == check.error)
    if first is check and check.error:
        _error(page, check.error, indent=4)
    else:
        page.line(f"the same error as {inline(first.method)}", indent=4)


def _error(page: Page, error: Mistake, *, indent: int) -> None:
    page.block((f"error[{error.code}]", "bold red"), error.message, indent=indent)
    place = error_place(error)
    if place:
        page.paragraph(f"--> {place}", indent=indent + 2)
    for line in error_excerpt(error, page.width and page.width - indent - 4):
        page.line(line, indent=indent + 4)
    if error.help:
        page.block("help", error.help, indent=indent + 2)


def _warnings(page: Page, warnings: tuple[str, ...]) -> None:
    for warning in warnings:
        page.block(("warning", "yellow"), warning, indent=4)


def _notes(page: Page, notes: tuple[str, ...]) -> None:
    for note in notes:
        page.block(("note", "cyan"), note, indent=4)


def _environment(page: Page, report: Report) -> None:
    environment = report.environment
    known = (("Python", environment.python), ("TensorFlow", environment.tensorflow), ("Keras", environment.keras))
    more = (("NumPy", environment.numpy), ("on", environment.device))
    versions = [f"{name} {inline(version)}" for name, version in known + more if version]
    page.paragraph(", ".join([f"{inline(report.tool.name)} {inline(report.tool.version)}", *versions]))


def _summary(page: Page, report: Report, terms: set[str]) -> None:
    """Add what the figures mean, then one line for each run, and a row for each method of one that did not pass."""
    single = len(report.runs) == 1
    detailed = [run for run in report.runs if run.checks and (single or run.verdict != "pass")]
    if detailed:
        terms.update(("max rel", "error by layer"))
    called = {check.sides.reference for run in report.runs for check in run.checks}
    add_legend(page, terms, called.pop() if len(called) == 1 else "reference")
    if terms:
        page.line()
    names = [config_name(run) for run in report.runs]
    width = min(max(map(len, names), default=0), (page.width or _WIDE) // 2)
    for name, run in zip(names, report.runs, strict=True):
        word, tone = words.verdict(run)
        outcomes = [f"{inline(check.method)}: {words.outcome(check)[0]}" for check in run.checks]
        codes = [error.code for error in run_errors(run)]
        checks = ", ".join(filter(None, [*codes, *(() if run in detailed else outcomes), shortfall(run)]))
        page.paragraph((f"{word:<7}", words.STYLES[tone]), f"  {name:<{width}}  {checks}", hanging=9)
        if run in detailed:
            add_verdicts(page, run, indent=9 - 5 * single)
    if not single and page.width is None:  # on a terminal it is told beside the report, with the time
        page.paragraph(words.summary_line(report))

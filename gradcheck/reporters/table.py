"""The report for people at a terminal: headings, one row for each tensor, and a conclusion in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gradcheck.phrases import plural
from gradcheck.reporters.parts import training, words
from gradcheck.reporters.parts.columns import Layout
from gradcheck.reporters.parts.errors import error_excerpt, error_place
from gradcheck.reporters.parts.exempt import expectation
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, grouped, layers_in_brief, run_errors, shown
from gradcheck.reporters.parts.text import inline, named, plain_number, seconds, shorten, size

if TYPE_CHECKING:
    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.report import (
        CheckReport,
        Diagnosis,
        Report,
        RunReport,
        ScheduleReport,
        SegmentReport,
    )

_Row = TypeVar("_Row")
_STYLES: dict[Tone, str] = {"good": "green", "bad": "bold red", "warn": "yellow", "neutral": "cyan", "unknown": "dim"}
_SEGMENTS_IN_BRIEF = 8


def render(report: Report, options: RenderOptions) -> str:
    """Render every run, and a small table of verdicts if there are several."""
    page = Page(options.width, color=options.color)
    for run in report.runs:
        _run(page, run, options)
        page.line()
    if options.verbose:
        _environment(page, report)
    if len(report.runs) != 1:
        _summary(page, report)
    return page.text()


def _run(page: Page, run: RunReport, options: RenderOptions) -> None:
    word, tone = words.verdict(run)
    file = f" ({inline(run.config)})" if run.config else ""
    page.paragraph((word, _STYLES[tone] + " reverse"), " ", (inline(run.name), "bold"), file)
    page.line(f"{inline(run.precision)}, {inline(run.execution)}, seed {run.seed}", indent=2)
    for error in run_errors(run):
        _error(page, error, indent=2)
    if options.show != "summary":
        _segments(page, run.segments, options)
    if run.reference:
        page.paragraph(
            f"reference: {inline(run.reference.method)}, loss {plain_number(run.reference.loss)}, "
            f"gradient norm {plain_number(run.reference.gradient_norm)}, {seconds(run.reference.seconds)}"
            f"{words.verified(run)}",
            indent=2,
        )
    for check in run.checks:
        page.line()
        _check(page, check, run, options)
    if run.unproven:
        page.line()
        page.paragraph((shortfall(run), _STYLES["bad"]), indent=2)
    for line in shortfall_lines(run):
        page.paragraph(line, indent=4)
    _warnings(page, run.warnings)
    _notes(page, run.notes)
    if run.verdict == "vacuous":
        page.paragraph((words.vacuous_advice(run), "bold yellow"), indent=2)


def _segments(page: Page, segments: tuple[SegmentReport, ...], options: RenderOptions) -> None:
    """Add one line for each segment; of many, a terminal shows only the first."""
    if not segments:
        return
    page.line(plural(len(segments), "segment"), indent=2)
    first = _first(segments, options)
    for segment in first:
        layers = layers_in_brief(segment) if page.width else named(segment.layers, most=len(segment.layers))
        parameters = plural(segment.parameters, "parameter")
        page.heading(f"{segment.index}: {inline(segment.name)} ({parameters}): {layers}", indent=4)
    _more(page, len(segments) - len(first))


def _first(rows: tuple[_Row, ...], options: RenderOptions) -> tuple[_Row, ...]:
    """Return all rows; for a terminal only the first of many."""
    return rows if options.width is None or options.verbose else rows[:_SEGMENTS_IN_BRIEF]


def _more(page: Page, count: int) -> None:
    if count:
        page.line(f"and {count} more (-v lists them)", indent=4)


def _check(page: Page, check: CheckReport, run: RunReport, options: RenderOptions) -> None:
    word, tone = words.outcome(check)
    peak = "" if check.peak_bytes is None else f", peak {size(check.peak_bytes)}"
    page.paragraph(
        (inline(check.method), "bold"),
        f" (expect {expectation(check)}): ",
        (word, _STYLES[tone]),
        f", {seconds(check.seconds)}{peak}",
        indent=2,
    )
    _rows(page, check, run, options)
    if options.show != "summary":
        _contributions(page, check, run)
    if check.schedule and (options.show == "all" or options.verbose):
        _schedule(page, check.schedule, run, options)
    if check.error:
        _error(page, check.error, indent=4)
    if check.first_divergence:
        page.paragraph(f"first wrong in backward order: {inline(check.first_divergence)}", indent=4)
    _warnings(page, check.warnings)
    _notes(page, check.notes)
    page.paragraph((words.conclusion(check, run.coverage.trainable), _STYLES[tone]), indent=2)
    if words.rests_on(check):
        page.paragraph((words.rests_on(check), "dim"), indent=2)
    if check.second_opinion:
        page.paragraph(inline(check.second_opinion), indent=2)
    _diagnoses(page, check.diagnoses, tone)


def _rows(page: Page, check: CheckReport, run: RunReport, options: RenderOptions) -> None:
    """Add the header, then each group under its subheading; the lines below a failing row explain the failure."""
    tensors = shown(check, options.show)
    hidden = len(check.tensors) - len(tensors)
    if tensors:
        layout = Layout.of(tensors, page.width and page.width - 6)
        page.line((layout.header, "dim"), indent=6)
        for group in grouped(tensors, run.segments):
            page.heading(group.title, "bold", indent=4)
            for tensor in group.tensors:
                before, status, after = layout.row(tensor)
                page.line(before, (status, _STYLES[words.status_tone(tensor, check)]), after, indent=6)
                for line in (
                    words.failure_lines(tensor, check.sides) if fails(tensor, check) else words.unproven_lines(tensor)
                ):
                    page.paragraph(line, indent=8)
    if hidden and options.show == "failed":
        page.line(f"{plural(hidden, 'row')} not shown (--show all)", indent=4)


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
        page.block((words.diagnosis_heading(diagnosis), _STYLES[tone]), words.diagnosis_text(diagnosis), indent=2)
    if diagnoses:
        codes = " ".join(dict.fromkeys(diagnosis.code for diagnosis in diagnoses))
        page.paragraph((f"more: gradcheck explain {codes}", "dim"), indent=2)


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


def _summary(page: Page, report: Report) -> None:
    """Add one line for each run: its verdict, its config, its checks."""
    names = [config_name(run) for run in report.runs]
    if page.width is not None:
        names = [shorten(name, page.width // 2) for name in names]
    for name, run in zip(names, report.runs, strict=True):
        word, tone = words.verdict(run)
        outcomes = [f"{inline(check.method)}: {words.outcome(check)[0]}" for check in run.checks]
        checks = ", ".join(filter(None, [*outcomes, shortfall(run)]))
        page.paragraph((f"{word:<7}", _STYLES[tone]), f"  {name:<{max(map(len, names))}}  {checks}", hanging=9)
    page.paragraph(words.summary_line(report))

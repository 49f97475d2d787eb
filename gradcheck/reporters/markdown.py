"""Markdown for comments on pull requests and job summaries: failures are visible, all rows are folded."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.errors import error_lines
from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, grouped, run_errors
from gradcheck.reporters.parts.text import index, inline, lines, number, pair, plain_number, shape
from gradcheck.reporters.parts.training import has_steps, schedule_heading, stage_line, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck.errors import Mistake
    from gradcheck.reporters.interface import RenderOptions, Show
    from gradcheck.results.report import CheckReport, Report, RunReport, Sides, TensorReport
    from gradcheck.results.schedule import ScheduleReport


def render(report: Report, options: RenderOptions) -> str:
    """Render a heading, a table of checks, then each run, with empty lines between blocks."""
    blocks = [f"## gradcheck: {prose(words.summary_line(report))}"]
    if report.runs:
        blocks.append(_overview(report.runs))
    for run in report.runs:
        blocks += _run(run, options.show)
    return "\n\n".join(blocks)


def prose(text: str) -> str:
    """Return `text` with every character escaped that Markdown, HTML or GitHub (mentions, issues) would interpret."""
    escaped = re.sub(r"([\\`*_{}\[\]|~#$])", r"\\\1", html.escape(inline(text), quote=False))
    return escaped.replace("@", "@<!-- -->")


def code(text: str) -> str:
    """Return `text` as a code span that is safe in a table: the fence is longer than any inside, pipes are escaped."""
    text = inline(text) or " "
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    space = " " if "`" in (text[0], text[-1]) else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are written as they are."""
    every = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)


def _overview(runs: Sequence[RunReport]) -> str:
    rows = []
    for run in runs:
        checks = [(code(check.method), words.outcome(check)[0]) for check in run.checks] or [("", "")]
        checks += [("", prose(shortfall(run)))] if run.unproven else []
        rows += [(code(config_name(run)), f"**{words.verdict(run)[0]}**", *check) for check in checks]
    return table(("config", "verdict", "check", "outcome"), rows)


def _run(run: RunReport, show: Show) -> Iterator[str]:
    yield f"### {words.verdict(run)[0]} {prose(run.name)}"
    yield f"{code(config_name(run))}: {prose(run.precision)}, {prose(run.execution)}, seed {run.seed}{_reference(run)}"
    for error in run_errors(run):
        yield error_block(error)
    for check in run.checks:
        yield from _check(run, check, show)
    if run.unproven:
        yield "\n".join([f"**{prose(shortfall(run))}**\n", *(f"- {prose(line)}" for line in shortfall_lines(run))])
    yield from _said(run)
    if run.verdict == "vacuous":
        yield f"**{prose(words.vacuous_advice(run))}**"


def _reference(run: RunReport) -> str:
    if run.reference is None:
        return ""
    loss = plain_number(run.reference.loss)
    return f"; reference {prose(run.reference.method)}: loss {loss}, {words.norm(run)}{words.verified(run)}"


def _check(run: RunReport, check: CheckReport, show: Show) -> Iterator[str]:
    yield prose(words.conclusion(check, run.coverage.trainable))
    if words.rests_on(check):
        yield prose(words.rests_on(check))
    if check.second_opinion:
        yield prose(check.second_opinion)
    for diagnosis in check.diagnoses:
        yield f"**{prose(words.diagnosis_heading(diagnosis))}:** {_lines(words.diagnosis_text(diagnosis))}"
    if check.error:
        yield error_block(check.error)
    failing = [tensor for tensor in check.tensors if fails(tensor, check)]
    if failing and show != "summary":
        yield _failing_table(failing, check.sides)
    if check.first_divergence:
        yield f"First wrong in backward order: {code(check.first_divergence)}"
    yield from _said(check)
    if check.schedule and show == "all":
        yield _schedule(run, check.schedule)
    if check.tensors and show == "all":
        yield _every_row(run, check)


def _said(report: RunReport | CheckReport) -> Iterator[str]:
    for label, texts in (("warning", report.warnings), ("note", report.notes)):
        yield from (f"**{label}:** {prose(text)}" for text in texts)


def _schedule(run: RunReport, schedule: ScheduleReport) -> str:
    summary = f"<code>{html.escape(schedule_heading(schedule))}</code>"
    stages = "\n".join(f"- {prose(stage_line(stage, run.segments))}" for stage in schedule.stages)
    return f"<details><summary>{summary}</summary>\n\n{stages}\n\n</details>"


def _lines(text: str) -> str:
    return "<br>\n".join(map(prose, lines(text)))


def _failing_table(failing: Sequence[TensorReport], sides: Sides) -> str:
    # The state's side has a name of its own: a check of both has both names in the heading.
    left, right = zip(*(sides.of(tensor.kind) for tensor in failing), strict=True)
    worst = (" or ".join(dict.fromkeys(names)) for names in (left, right))
    header = ("status", "max abs", "max rel", "worst", *worst, "elements", "note")
    return _tensor_table(failing, header, map(_failing_cells, failing))


def _tensor_table(tensors: Sequence[TensorReport], header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table with a row for each tensor: its path, in training its step, then the cells of `rows`."""
    if not has_steps(tensors):
        return table(("tensor", *header), ((code(t.path), *row) for t, row in zip(tensors, rows, strict=True)))
    named = ((code(t.path), step(t), *row) for t, row in zip(tensors, rows, strict=True))
    return table(("tensor", "step", *header), named)


def _failing_cells(tensor: TensorReport) -> tuple[str, ...]:
    worst = tensor.worst
    reference, candidate = pair(worst.reference, worst.candidate) if worst else ("-", "-")
    return (
        f"**{tensor.status}**",
        number(tensor.max_abs_error),
        number(tensor.max_rel_error),
        code(index(worst.index)) if worst else "-",
        reference,
        candidate,
        f"{tensor.mismatched_elements}/{tensor.elements}",
        prose(tensor.note or ""),
    )


def _every_row(run: RunReport, check: CheckReport) -> str:
    header = ("group", "kind", "status", "shape", "max abs", "max rel", "noise floor", "needs rtol")
    groups = grouped(check.tensors, run.segments)
    rows = (
        (
            prose(group.title),
            tensor.kind,
            status_label(tensor),
            code(shape(tensor.shape)),
            number(tensor.max_abs_error),
            number(tensor.max_rel_error),
            number(tensor.noise_floor),
            number(tensor.required.rtol),
        )
        for group in groups
        for tensor in group.tensors
    )
    tensors = [tensor for group in groups for tensor in group.tensors]
    summary = f"<code>{html.escape(inline(check.method))}</code>: all {plural(len(check.tensors), 'tensor')}"
    return f"<details><summary>{summary}</summary>\n\n{_tensor_table(tensors, header, rows)}\n\n</details>"


def error_block(error: Mistake) -> str:
    """Return the error in a code block, whose fence is longer than any inside."""
    text = "\n".join(error_lines(error))
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}text\n{text}\n{fence}"

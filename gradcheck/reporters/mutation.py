"""The report of `gradcheck mutate`: for a terminal, for programs, and for comments on pull requests."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from gradcheck.phrases import plural
from gradcheck.reporters.markdown import code as code_span
from gradcheck.reporters.markdown import error_block, prose, table
from gradcheck.reporters.parts.errors import error_lines
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, number, seconds, shorten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.mutation import FaultReport, MutationReport, Mutations, Score
    from gradcheck.results.report import Verdict

_STYLES: dict[Verdict, str] = {"pass": "green", "fail": "bold red", "error": "bold red", "vacuous": "yellow"}
_HEAD = ("fault", "", "places", "caught", "named", "smallest margin")
_NARROWEST_TITLE = 12


@dataclass(frozen=True)
class FaultRow:
    """One fault, over all places where it was injected."""

    faults: tuple[FaultReport, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells under `_HEAD`; dashes for a fault that was not injected, or changed nothing."""
        first = self.faults[0]
        counted = [fault for fault in self.faults if fault.injected]
        if not counted:
            return (first.code, inline(first.title), "-", "-", "-", "-")
        caught = [fault for fault in counted if fault.status == "caught"]
        named = sum(fault.named for fault in caught)
        smallest = number(min((fault.margin for fault in caught), default=None))
        return (first.code, inline(first.title), *map(str, (len(counted), len(caught), named)), smallest)

    @property
    def injected(self) -> bool:
        """Whether it was injected at some place, and changed a tensor there."""
        return any(fault.injected for fault in self.faults)

    @property
    def remark(self) -> str:
        """Why injections were left out or changed nothing, with the reason if there is only one."""
        others = [fault for fault in self.faults if not fault.injected]
        if not others:
            return ""
        if not any(fault.place for fault in others):
            return f"not applicable: {inline(others[0].reason)}"
        left, same = [f for f in others if f.left_out], [f for f in others if not f.left_out]
        reasons = {fault.reason for fault in same}
        why = f": {inline(reasons.pop())}" if len(same) == len(self.faults) and len(reasons) == 1 else ""
        parts = [f"{len(same)} equivalent{why}"] if same else []
        return ", ".join([*parts, *([f"{len(left)} not tried"] if left else [])])

    @property
    def bad(self) -> bool:
        """Whether the fault is missed, or caught without its code, at some place."""
        return any(_attention(fault) for fault in self.faults)


def render_table(report: Mutations, options: RenderOptions) -> str:
    """Render each config: a row for each fault, the missed or unnamed ones in full, and a conclusion in words."""
    page = Page(options.width, color=options.color)
    for run in report.runs:
        _run(page, run, options)
        page.line()
    if len(report.runs) != 1:
        page.paragraph(f"{plural(len(report.runs), 'config')}: {score_words(report.score)}")
    return page.text()


def render_json(report: Mutations, options: RenderOptions) -> str:  # noqa: ARG001 - every reporter takes the options
    """Render the report with the keys of the JSON contract; numbers that are not finite are null."""
    return report.to_json()


def render_html(report: Mutations, options: RenderOptions) -> str:
    """Render the page: the score, what was missed or not named, the table of faults, and every place folded."""
    from gradcheck.reporters.html import page  # noqa: PLC0415 - only this format needs jinja2

    own = (score_words, conclusion, attention_lines, fault_rows, tone)
    return page("mutation.html.j2", report, options, **{function.__name__: function for function in own})


def render_markdown(report: Mutations, options: RenderOptions) -> str:
    """Render a heading, then each config: its table of faults, the missed or unnamed ones, and every place folded."""
    blocks = [f"## gradcheck mutate: {prose(score_words(report.score))}"]
    for run in report.runs:
        blocks += _markdown_run(run, options)
    return "\n\n".join(blocks)


#: The formats of `gradcheck mutate --format`, by name.
MUTATION_REPORTERS: dict[str, Callable[[Mutations, RenderOptions], str]] = {
    "table": render_table,
    "json": render_json,
    "markdown": render_markdown,
    "html": render_html,
}


def score_words(score: Score) -> str:
    """Return the score in words: `23 faults injected, 23 caught, 22 named`."""
    return f"{plural(score.injected, 'fault')} injected, {score.caught} caught, {score.named} named"


def conclusion(run: MutationReport) -> str:
    """Return what the score means, in a sentence."""
    score = run.score
    if run.baseline is not None:
        return f"nothing was injected: {inline(run.baseline)}."
    if not score.injected:
        return "Nothing was proven: no fault could be injected that changes anything."
    missed = score.injected - score.caught
    if missed:
        of = plural(score.injected, "injected fault")
        return f"{missed} of {of} {'is' if missed == 1 else 'are'} MISSED at the tolerances of this config."
    one = score.injected == 1
    every = "the one injected fault is" if one else f"all {score.injected} injected faults are"
    own = "and named with its own code" if one else "and named with their own codes"
    named = own if score.named == score.injected else f"{score.named} of them named"
    left = sum(fault.left_out for fault in run.faults)
    untried = f"; {left} {'was' if left == 1 else 'were'} not tried" if left else ""
    return f"{every} caught, {named}{untried}."


def attention_lines(run: MutationReport) -> list[tuple[str, str]]:
    """Return place and reason of each fault that was missed, or caught and not named."""
    lines = []
    for fault in filter(_attention, run.faults):
        word = "MISSED" if fault.status == "missed" else "NOT NAMED"
        effect = f"{inline(fault.effect)}; " if fault.effect else ""
        lines.append((f"{word} {fault.code} at {inline(fault.place)}", f"{effect}{inline(fault.reason)}"))
    return lines


def tone(fault: FaultReport) -> Tone:
    """Return the tone of a fault: good only if it was caught and named."""
    if fault.status == "missed":
        return "bad"
    return "warn" if _attention(fault) else "good" if fault.status == "caught" else "unknown"


def _attention(fault: FaultReport) -> bool:
    return fault.status == "missed" or (fault.status == "caught" and not fault.named)


def fault_rows(run: MutationReport) -> list[FaultRow]:
    """Return the faults by code, in the order of the codes."""
    codes = dict.fromkeys(fault.code for fault in run.faults)
    return [FaultRow(tuple(fault for fault in run.faults if fault.code == code)) for code in codes]


def _run(page: Page, run: MutationReport, options: RenderOptions) -> None:
    file = f" ({inline(run.config)})" if run.config else ""
    page.paragraph((run.verdict.upper(), _STYLES[run.verdict] + " reverse"), " ", (inline(run.name), "bold"), file)
    for error in run.errors:
        for line in error_lines(error):
            page.paragraph(line, indent=2)
    if run.errors:
        return
    page.line(f"{inline(run.precision)}, seed {run.seed}, {seconds(run.seconds)}", indent=2)
    if options.show != "summary":
        _faults(page, run, options)
        for title, text in attention_lines(run):
            page.block((title, "bold red"), text, indent=2)
    for note in run.notes:
        page.block(("note", "cyan"), note, indent=2)
    page.paragraph((conclusion(run), _STYLES[run.verdict]), indent=2)


def _faults(page: Page, run: MutationReport, options: RenderOptions) -> None:
    """Add the header and a row for each fault, with a line for each place if `options` ask for all."""
    rows = fault_rows(run)
    if not rows:
        return
    widths = _widths(rows, page.width)
    page.line((_aligned(_HEAD, widths), "dim"), indent=4)
    for row in rows:
        line, remark = (_aligned(row.cells, widths), "bold red" if row.bad else ""), (row.remark, "dim")
        page.line(line, *(() if page.width else ("  ", remark)), indent=4)
        if row.remark and page.width:
            page.paragraph(remark, indent=11)
        for fault in row.faults if options.show == "all" or options.verbose else ():
            if fault.place:
                page.paragraph(_place(fault), indent=11)


def _widths(rows: Sequence[FaultRow], width: int | None) -> list[int]:
    """Return the width of each column; if space is short, titles are shortened."""
    columns = zip(_HEAD, *(row.cells for row in rows), strict=True)
    widths = [max(map(cell_len, column)) for column in columns]
    if width is not None:
        others = sum(widths) - widths[1] + 2 * (len(widths) - 1) + 4
        widths[1] = min(widths[1], max(_NARROWEST_TITLE, width - others))
    return widths


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return the cells in one line, names aligned to the left, figures to the right."""
    padded = []
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = shorten(cell, width, cell_len)
        padding = " " * (width - cell_len(text))
        padded.append(text + padding if index < 2 else padding + text)  # noqa: PLR2004 - code and title
    return "  ".join(padded)


def _place(fault: FaultReport) -> str:
    """Return one place on one line: the change that was made there, and the outcome."""
    named = ", named" if fault.named else ""
    margin = f", margin {number(fault.margin)}" if fault.status == "caught" else ""
    status = fault.reason if fault.left_out else f"{fault.status}{named}{margin}"
    reason = "" if fault.left_out or not fault.reason else f": {fault.reason}"
    return inline(f"{fault.place} ({fault.effect}): {status}{reason}")


def _markdown_run(run: MutationReport, options: RenderOptions) -> Iterator[str]:
    yield f"### {run.verdict.upper()} {prose(run.name)}"
    for error in run.errors:
        yield error_block(error)
    if run.errors:
        return
    yield f"{code_span(run.config or run.name)}: {prose(run.precision)}, seed {run.seed}, {seconds(run.seconds)}"
    if run.faults and options.show != "summary":
        head = ("fault", "title", *_HEAD[2:], "")
        yield table(head, ([*map(prose, row.cells), prose(row.remark)] for row in fault_rows(run)))
        for title, text in attention_lines(run):
            yield f"**{prose(title)}:** {prose(text)}"
    for note in run.notes:
        yield f"**note:** {prose(note)}"
    yield prose(conclusion(run))
    if run.faults and options.show == "all":
        yield _markdown_places(run)


def _markdown_places(run: MutationReport) -> str:
    """Return every fault at every place, folded."""
    cells = (
        (
            f.code,
            prose(f.place),
            prose(f.effect),
            f.status,
            "yes" if f.named else "no",
            number(f.margin),
            prose(f.reason),
        )
        for f in run.faults
    )
    rows = table(("fault", "place", "what was done", "status", "named", "margin", "reason"), cells)
    summary = f"<code>{html.escape(inline(run.name))}</code>: every place"
    return f"<details><summary>{summary}</summary>\n\n{rows}\n\n</details>"

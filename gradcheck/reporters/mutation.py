"""The report of `gradcheck mutate`: for a terminal, for programs, and for comments on pull requests."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.markdown import code as code_span
from gradcheck.reporters.markdown import error_block, prose, table
from gradcheck.reporters.parts.errors import error_lines
from gradcheck.reporters.parts.legend import add_legend
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, number, seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.mutation import FaultReport, MutationReport, Mutations, Score
    from gradcheck.results.report import Verdict

_STYLES: dict[Verdict, str] = {"pass": "green", "fail": "bold red", "error": "bold red", "vacuous": "yellow"}
_HEAD = ("fault", "", "places", "caught", "named", "smallest margin", "")
_RIGHT = frozenset({2, 3, 4, 5})


@dataclass(frozen=True)
class _Row:
    """One fault, over all places where it was injected."""

    faults: tuple[FaultReport, ...]

    @property
    def name(self) -> str:
        """The code and its title."""
        return f"{self.faults[0].code} {inline(self.faults[0].title)}"

    @property
    def injected(self) -> tuple[FaultReport, ...]:
        """The places where it changed something."""
        return tuple(fault for fault in self.faults if fault.injected)

    @property
    def nowhere(self) -> bool:
        """Whether it has no place in this model."""
        return not any(fault.place for fault in self.faults)

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells under `_HEAD` of a fault that was injected somewhere."""
        first, caught = self.faults[0], [fault for fault in self.injected if fault.status == "caught"]
        counts = (len(self.injected), len(caught), sum(fault.named for fault in caught))
        smallest = number(min((fault.margin for fault in caught), default=None))
        return (first.code, inline(first.title), *map(str, counts), smallest, self.remark)

    @property
    def remark(self) -> str:
        """How many places changed nothing or were not tried, with the reason if there is only one."""
        others = [fault for fault in self.faults if not fault.injected]
        left, same = [f for f in others if f.left_out], [f for f in others if not f.left_out]
        reasons = {fault.reason for fault in same}
        why = f": {inline(reasons.pop())}" if len(same) == len(self.faults) and len(reasons) == 1 else ""
        counts = ((len(same), f"equivalent{why}"), (len(left), "not tried"))
        return ", ".join(f"{count} {what}" for count, what in counts if count)

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
    counts = (
        (sum(fault.undiagnosed for fault in run.faults), "not diagnosed"),
        (sum(fault.left_out for fault in run.faults), "not tried"),
    )
    left = "".join(f"; {count} {'was' if count == 1 else 'were'} {what}" for count, what in counts if count)
    so_far = "so far, " if run.errors else ""
    return f"{so_far}{every} caught, {named}{left}."


def attention_lines(run: MutationReport) -> list[tuple[str, str]]:
    """Return place and reason of each fault that was missed, or caught and not named."""
    lines = []
    for fault in filter(_attention, run.faults):
        word = "MISSED" if fault.status == "missed" else "NOT NAMED"
        effect = f"{inline(fault.effect)}; " if fault.effect else ""
        lines.append((f"{word} {fault.code} at {inline(fault.place)}", f"{effect}{inline(fault.reason)}"))
    return lines


def _attention(fault: FaultReport) -> bool:
    return fault.status == "missed" or (fault.status == "caught" and not fault.named and not fault.undiagnosed)


def _rows(run: MutationReport) -> list[_Row]:
    codes = dict.fromkeys(fault.code for fault in run.faults)
    return [_Row(tuple(fault for fault in run.faults if fault.code == code)) for code in codes]


def _run(page: Page, run: MutationReport, options: RenderOptions) -> None:
    file = f" ({inline(run.config)})" if run.config else ""
    page.paragraph((run.verdict.upper(), _STYLES[run.verdict] + " reverse"), " ", (inline(run.name), "bold"), file)
    for error in run.errors:
        for line in error_lines(error):
            page.paragraph(line, indent=2)
    if run.errors and not run.faults:
        return
    page.line(_ran(run), indent=2)
    if options.show != "summary":
        _faults(page, run, options)
        for title, text in attention_lines(run):
            page.block((title, "bold red"), text, indent=2)
    for note in run.notes:
        page.block(("note", "cyan"), note, indent=2)
    page.paragraph((conclusion(run), _STYLES[run.verdict]), indent=2)


def _faults(page: Page, run: MutationReport, options: RenderOptions) -> None:
    """Add a row for each fault that was injected, and the others in few lines; every place if `options` ask for all."""
    rows, every = _rows(run), options.show == "all" or options.verbose
    injected = [row for row in rows if row.injected]
    if injected:
        head = _HEAD if any(row.remark for row in injected) else _HEAD[:-1]
        styled = ([(cell, "bold red" if row.bad else "") for cell in row.cells[: len(head)]] for row in injected)
        page.table(head, styled, right=_RIGHT, indent=4)
    for line in _others(rows, every=every):
        page.paragraph((line, "dim"), indent=4)
    for row in rows if every else ():
        page.paragraph(row.name, indent=4)
        for fault in row.faults:
            page.paragraph(_place(fault) if fault.place else f"not applicable: {inline(fault.reason)}", indent=11)
    if injected:
        page.line()
        add_legend(page, {"places", "smallest margin"})


def _others(rows: list[_Row], *, every: bool) -> list[str]:
    """Return a line for each fault that changed nothing, and one for all without a place; with `every` they follow."""
    found = [f"{row.name}: {row.remark}" for row in rows if not row.injected and not row.nowhere]
    codes = [row.faults[0].code for row in rows if row.nowhere]
    why = "" if every else " (--show all says why)"
    return [*found, *([f"not applicable: {plural(len(codes), 'fault')}{why}: {', '.join(codes)}"] if codes else [])]


def _ran(run: MutationReport) -> str:
    took = "" if math.isnan(run.seconds) else f", {seconds(run.seconds)}"
    return f"{inline(run.precision)}, seed {run.seed}{took}"


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
    if run.errors and not run.faults:
        return
    yield f"{code_span(run.config or run.name)}: {prose(_ran(run))}"
    if run.faults and options.show != "summary":
        rows = _rows(run)
        head = ("fault", "title", *_HEAD[2:])
        yield table(head, (list(map(prose, row.cells)) for row in rows if row.injected))
        yield from map(prose, _others(rows, every=options.show == "all"))
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

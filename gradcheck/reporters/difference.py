"""The difference of two reports: for a terminal, for programs, and for comments on pull requests."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.markdown import code as code_span
from gradcheck.reporters.markdown import prose, table
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, number, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.difference import Direction, ReportChange, ReportDifference, ReportOrigin, Result

_STYLES: dict[Direction, str] = {
    "newly_failing": "bold red",
    "newly_passing": "green",
    "drifted": "yellow",
    "appeared": "cyan",
    "vanished": "cyan",
}
_SHORT_COMMIT = 10


def render_table(report: ReportDifference, options: RenderOptions) -> str:
    """Render the two reports, then each change below its direction and config, and the counts."""
    page = Page(options.width, color=options.color)
    if options.show != "summary":
        page.paragraph(f"old: {_origin(report.old)}")
        page.paragraph(f"new: {_origin(report.new)}")
        for note in report.notes:
            page.block(("note", "cyan"), note, indent=0)
        for direction, changes in _shown(report, options):
            page.line()
            page.line((f"{_words(direction)} ({len(changes)})", _STYLES[direction]))
            for config, of_config in groupby(changes, key=lambda change: change.config):
                page.paragraph((inline(config), "bold"), indent=2)
                _config(page, of_config)
        page.line()
    page.paragraph((summary_line(report), _STYLES["newly_failing" if report.exit_code else "newly_passing"]))
    return page.text()


def _config(page: Page, changes: Iterable[ReportChange]) -> None:
    """Add the changes of one config and direction: each check, and its tensors below it."""
    above = None
    for change in changes:
        if change.level == "tensor":
            if change.method != above:
                page.paragraph(_check(change), indent=4)
            page.paragraph(f"{_tensor(change)}: {transition(change)}", indent=6)
        else:
            page.paragraph(f"{_check(change)}: {transition(change)}", indent=4)
        above = change.method


def render_json(report: ReportDifference, options: RenderOptions) -> str:  # noqa: ARG001 - as every reporter
    """Render the difference with the keys of its records; numbers that are not finite are null."""
    return report.to_json()


def render_markdown(report: ReportDifference, options: RenderOptions) -> str:
    """Render a heading, the two reports, and a table for each direction; all but what newly fails are folded."""
    blocks = [f"## gradcheck diff: {prose(summary_line(report))}"]
    if options.show != "summary":
        blocks.append(f"- old: {prose(_origin(report.old))}\n- new: {prose(_origin(report.new))}")
        blocks += [f"**note:** {prose(note)}" for note in report.notes]
        blocks += [_section(direction, changes) for direction, changes in _shown(report, options)]
    return "\n\n".join(blocks)


#: The formats of `gradcheck diff --format`, by name.
DIFFERENCE_REPORTERS: dict[str, Callable[[ReportDifference, RenderOptions], str]] = {
    "table": render_table,
    "json": render_json,
    "markdown": render_markdown,
}


def summary_line(report: ReportDifference) -> str:
    """Return `7 newly failing (1 check, 6 tensors), 2 drifted (2 tensors), 12 unchanged`."""
    words = []
    for direction in _STYLES:
        levels = Counter(change.level for change in report.of(direction))
        if levels or direction == "newly_failing":
            of = ", ".join(plural(count, level) for level, count in levels.items())
            words.append(f"{levels.total()} {_words(direction)}" + (f" ({of})" if of else ""))
    return ", ".join([*words, f"{report.summary.unchanged} unchanged"])


def _check(change: ReportChange) -> str:
    return inline(change.method or "the run")


def _tensor(change: ReportChange) -> str:
    """Return the kind and path of a tensor, and in training its quantity; empty for a check or a run."""
    parts = (change.kind, change.path, change.quantity and f"({change.quantity})")
    return inline(" ".join(part for part in parts if part))


def transition(change: ReportChange) -> str:
    """Return `close → mismatch, max abs 1.2e-08 → 3.4e-02`: what is equal on both sides is said once."""
    old, new = change.old, change.new
    parts = [_sides(*(None if result is None else _status(result, change) for result in (old, new)))]
    parts += _figures(change)
    if change.change == "drifted" and change.level == "tensor" and old and new and old.status == new.status:
        parts.append(f"rounding explains {number(max(old.noise, new.noise))}")
    codes = [f"({', '.join(result.codes)})" if result and result.codes else None for result in (old, new)]
    return " ".join([", ".join(parts), *([_sides(*codes)] if codes[1] else [])])


_FIGURES: dict[str, Callable[[Result], str]] = {
    "max abs": lambda result: number(result.max_abs_error),
    "step": lambda result: "-" if result.step is None else str(result.step),
    "shape": lambda result: shape(result.shape),
    "dtype": lambda result: inline(result.dtype),
}


def _figures(change: ReportChange) -> Iterator[str]:
    """Yield the figures of a tensor that differ; of one that only one report has, its error."""
    old, new = change.old, change.new
    known = new or old
    if change.level != "tensor" or known is None:
        return
    if old is None or new is None:
        yield f"max abs {number(known.max_abs_error)}"
        return
    for name, figure in _FIGURES.items():
        if figure(old) != figure(new):
            yield f"{name} {_sides(figure(old), figure(new))}"


def _status(result: Result, change: ReportChange) -> str:
    """Return the status; of a check also whether it was expected, unless that is clear."""
    if change.level == "check" and result.status == "mismatch" and not result.exit_code:
        return "mismatch, as expected"
    if change.level == "check" and result.status == "match" and result.exit_code:
        return "match, a mismatch was expected"
    return inline(result.status)


def _sides(old: str | None, new: str | None) -> str:
    """Return `old → new`, or the one of them that there is, or that both are."""
    if old is None or new is None or old == new:
        return (new if old is None else old) or ""
    return f"{old} → {new}"


def _shown(report: ReportDifference, options: RenderOptions) -> Iterator[tuple[Direction, tuple[ReportChange, ...]]]:
    """Yield the directions that have changes and that `options` ask for."""
    for direction in _STYLES:
        if report.of(direction) and (options.show != "failed" or direction == "newly_failing"):
            yield direction, report.of(direction)


def _words(direction: Direction) -> str:
    return direction.replace("_", " ")


def _origin(origin: ReportOrigin) -> str:
    """Return the file of a report, and when, of which commit and by which version it was made, as far as known."""
    made = origin.environment
    commit = f"commit {made.commit[:_SHORT_COMMIT]}{' with changes' if made.dirty else ''}" if made.commit else ""
    about = ", ".join(part for part in (made.time, commit, f"gradcheck {origin.tool.version}") if part)
    return inline(f"{origin.file or 'this run'} ({about})")


def _section(direction: Direction, changes: tuple[ReportChange, ...]) -> str:
    rows = table(
        ("config", "check", "tensor", "change"),
        (
            (code_span(c.config), code_span(_check(c)), _tensor(c) and code_span(_tensor(c)), prose(transition(c)))
            for c in changes
        ),
    )
    if direction == "newly_failing":
        return f"**{plural(len(changes), _words(direction), _words(direction))}**\n\n{rows}"
    return f"<details><summary>{_words(direction)} ({len(changes)})</summary>\n\n{rows}\n\n</details>"

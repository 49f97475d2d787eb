"""The difference of two reports: for a terminal, for programs, and for comments on pull requests."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.markdown import code as code_span
from gradcheck.reporters.markdown import prose, table
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.difference import Change, Difference, Direction, Result, Source

_STYLES: dict[Direction, str] = {
    "newly_failing": "bold red",
    "newly_passing": "green",
    "drifted": "yellow",
    "appeared": "cyan",
    "vanished": "cyan",
}
_SHORT_COMMIT = 10


def render_table(report: Difference, options: RenderOptions) -> str:
    """Render the two reports, then each change below its direction and config, and the counts."""
    page = Page(options.width, color=options.color)
    if options.show != "summary":
        page.paragraph(f"old: {_source(report.old)}")
        page.paragraph(f"new: {_source(report.new)}")
        for note in report.notes:
            page.block(("note", "cyan"), note, indent=0)
        for direction, changes in _shown(report, options):
            page.line()
            page.line((f"{_words(direction)} ({len(changes)})", _STYLES[direction]))
            for config, of_config in groupby(changes, key=lambda change: change.config):
                page.paragraph((inline(config), "bold"), indent=2)
                for change in of_config:
                    page.paragraph(f"{subject(change)}: {transition(change)}", indent=4)
        page.line()
    page.paragraph((summary_line(report), _STYLES["newly_failing" if report.exit_code else "newly_passing"]))
    return page.text()


def render_json(report: Difference, options: RenderOptions) -> str:  # noqa: ARG001 - every reporter takes the options
    """Render the difference with the keys of its records; numbers that are not finite are null."""
    return report.to_json()


def render_markdown(report: Difference, options: RenderOptions) -> str:
    """Render a heading, the two reports, and a table for each direction; all but what newly fails are folded."""
    blocks = [f"## gradcheck diff: {prose(summary_line(report))}"]
    if options.show != "summary":
        blocks.append(
            "\n".join(f"- {name}: {prose(_source(s))}" for name, s in (("old", report.old), ("new", report.new)))
        )
        blocks += [f"**note:** {prose(note)}" for note in report.notes]
        blocks += [_section(direction, changes) for direction, changes in _shown(report, options)]
    return "\n\n".join(blocks)


#: The formats of `gradcheck diff --format`, by name.
DIFFERENCE_REPORTERS: dict[str, Callable[[Difference, RenderOptions], str]] = {
    "table": render_table,
    "json": render_json,
    "markdown": render_markdown,
}


def summary_line(report: Difference) -> str:
    """Return `1 newly failing, 2 drifted, 12 unchanged`; directions without changes are left out, the first is not."""
    counts = report.summary
    words = [f"{counts.newly_failing} newly failing"]
    others = (
        (counts.newly_passing, "newly passing"),
        (counts.drifted, "drifted"),
        (counts.appeared, "appeared"),
        (counts.vanished, "vanished"),
    )
    words += [f"{count} {name}" for count, name in others if count]
    return ", ".join([*words, f"{counts.unchanged} unchanged"])


def subject(change: Change) -> str:
    """Return what changed: `the run`, `vjp`, or `vjp weight dense/kernel`."""
    if change.level == "run":
        return "the run"
    tensor = (change.kind, change.path, change.quantity and f"({change.quantity})")
    return inline(" ".join(part for part in (change.method, *tensor) if part))


def transition(change: Change) -> str:
    """Return `close → mismatch, max abs 1.2e-08 → 3.4e-02`: what is equal on both sides is said once."""
    old, new = change.old, change.new
    parts = [_sides(*(None if result is None else _status(result, change) for result in (old, new)))]
    if change.level == "tensor" and old and new:
        parts += [f"{name} {_sides(*values)}" for name, *values in _figures(old, new) if values[0] != values[1]]
        if old.step != new.step:
            parts.append(f"step {_sides(_or_none(old.step), _or_none(new.step))}")
        if change.change == "drifted" and old.status == new.status:
            parts.append(f"rounding explains {number(max(old.noise, new.noise))}")
    codes = [f"({', '.join(result.codes)})" if result and result.codes else "" for result in (old, new)]
    return " ".join([", ".join(parts), *([_sides(*codes) if all(codes) else codes[1]] if codes[1] else [])])


def _figures(old: Result, new: Result) -> Iterator[tuple[str, str, str]]:
    yield "max abs", number(old.max_abs_error), number(new.max_abs_error)
    yield "shape", str(old.shape), str(new.shape)
    yield "dtype", inline(old.dtype), inline(new.dtype)


def _status(result: Result, change: Change) -> str:
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


def _or_none(step: int | None) -> str:
    return "none" if step is None else str(step)


def _shown(report: Difference, options: RenderOptions) -> Iterator[tuple[Direction, tuple[Change, ...]]]:
    """Yield the directions that have changes and that `options` ask for."""
    for direction in _STYLES:
        if report.of(direction) and (options.show != "failed" or direction == "newly_failing"):
            yield direction, report.of(direction)


def _words(direction: Direction) -> str:
    return direction.replace("_", " ")


def _source(source: Source) -> str:
    """Return the file of a report, and when, of which commit and by which version it was made, as far as known."""
    made = source.environment
    commit = f"commit {made.commit[:_SHORT_COMMIT]}{' with changes' if made.dirty else ''}" if made.commit else ""
    about = ", ".join(part for part in (made.time, commit, f"gradcheck {source.tool.version}") if part)
    return inline(f"{source.file or 'this run'} ({about})")


def _section(direction: Direction, changes: tuple[Change, ...]) -> str:
    rows = table(
        ("config", "what", "change"),
        ((code_span(c.config), code_span(subject(c)), prose(transition(c))) for c in changes),
    )
    if direction == "newly_failing":
        return f"**{plural(len(changes), _words(direction), _words(direction))}**\n\n{rows}"
    return f"<details><summary>{_words(direction)} ({len(changes)})</summary>\n\n{rows}\n\n</details>"

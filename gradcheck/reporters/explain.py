"""The catalogue as plain text, Markdown or JSON, without rich or TensorFlow."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from typing import TYPE_CHECKING

from gradcheck.catalogue import CATALOGUE, SECTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.catalogue import Entry

_INTRODUCTION = """\
# Codes

What `gradcheck` names by a code: mistakes in a config, faults that make split gradients wrong, and results that need a
word. `gradcheck explain GC101` prints one of them; this page is the output of `gradcheck explain --format markdown`.

In the examples `import tensorflow as tf` and `import keras` are taken as given; `front` and `back` are the two parts
of `model`, each with a tape of its own, `x` and `y` the batch, and `of_front` and `of_back` the parts' gradients."""


def render_text(entries: Sequence[Entry], *, width: int | None, heading: Callable[[str], str]) -> str:
    """Render the entries in full, with empty lines between them.

    Args:
        entries: entries of the catalogue.
        width: columns to wrap text at; None wraps nothing.
        heading: styles a heading, for example with ANSI colour.
    """
    return "\n\n".join("\n".join(_lines(entry, width, heading)) for entry in entries)


def render_list(*, heading: Callable[[str], str]) -> str:
    """Render one line for each code, by section."""
    blocks = [
        "\n".join([heading(section), *(f"  {entry.code}  {entry.title}" for entry in entries)])
        for section, entries in SECTIONS.items()
    ]
    return "\n\n".join(blocks)


def render_markdown(entries: Sequence[Entry]) -> str:
    """Render the entries as Markdown."""
    return "\n\n".join(_markdown(entry, level=2) for entry in entries)


def render_document() -> str:
    """Render the whole catalogue as one Markdown page, which begins with an index."""
    blocks = [_INTRODUCTION, "| code | title |\n| --- | --- |\n" + "\n".join(map(_index_row, CATALOGUE.values()))]
    for section, entries in SECTIONS.items():
        blocks += [f"## {section}", *(_markdown(entry, level=3) for entry in entries)]
    return "\n\n".join(blocks)


def render_json(entries: Sequence[Entry]) -> str:
    """Render the entries as `{"codes": [{"code": ..., "title": ..., "section": ..., ...}]}`."""
    codes = [{"section": _section(entry), **dataclasses.asdict(entry)} for entry in entries]
    return json.dumps({"codes": codes}, indent=2, ensure_ascii=False)


def _lines(entry: Entry, width: int | None, heading: Callable[[str], str]) -> Iterator[str]:
    yield heading(f"{entry.code} {entry.title}")
    yield ""
    yield from _wrapped(entry.explanation, "", "", width)
    if entry.causes:
        yield from ("", heading("Usual causes"))
        for cause in entry.causes:
            yield from _wrapped(cause, "  - ", "    ", width)
    yield from ("", heading("Fix"))
    yield from _wrapped(entry.fix, "  ", "  ", width)
    if entry.example:
        yield from ("", heading("Example"))
        yield from textwrap.indent(entry.example, "  ").split("\n")


def _wrapped(text: str, first: str, rest: str, width: int | None) -> list[str]:
    """Return `text` after `first`, wrapped with `rest` before each further line; words of code stay whole."""
    if width is None:
        return [first + text]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )


def _markdown(entry: Entry, *, level: int) -> str:
    blocks = [f"{'#' * level} {entry.code} {entry.title}", entry.explanation]
    if entry.causes:
        blocks += ["Usual causes:", "\n".join(f"- {cause}" for cause in entry.causes)]
    blocks.append(f"**Fix.** {entry.fix}")
    if entry.example:
        blocks.append(f"```python\n{entry.example}\n```")
    return "\n\n".join(blocks)


def _index_row(entry: Entry) -> str:
    """Return a row that links to the entry's heading, by the anchor that GitHub and others derive from it."""
    anchor = "".join(c for c in f"{entry.code} {entry.title}".lower() if c.isalnum() or c in " -").replace(" ", "-")
    return f"| [{entry.code}](#{anchor}) | {entry.title} |"


def _section(entry: Entry) -> str:
    return next(section for section, entries in SECTIONS.items() if entry in entries)

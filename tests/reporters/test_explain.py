from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from inline_snapshot import snapshot
from markdown_it import MarkdownIt

from gradcheck.catalogue import CATALOGUE, SECTIONS, Entry
from gradcheck.reporters import explain

ROOT = Path(__file__).parents[2]
ENTRIES = list(CATALOGUE.values())
SMALL = Entry(
    code="GC999",
    title="a title",
    explanation="What it is, in so many words that they do not fit on one line of a terminal.",
    causes=("one thing", "another, which is longer than a line of forty columns has room for"),
    fix="Do `it(right)`.",
    example="with tape:\n    loss = 1",
)


def test_text_at_a_terminal() -> None:
    assert explain.render_text([SMALL], width=40, heading=str.upper) == snapshot("""\
GC999 A TITLE

What it is, in so many words that they
do not fit on one line of a terminal.

USUAL CAUSES
  - one thing
  - another, which is longer than a line
    of forty columns has room for

FIX
  Do `it(right)`.

EXAMPLE
  with tape:
      loss = 1\
""")


def test_text_leaves_out_what_there_is_not() -> None:
    bare = dataclasses.replace(SMALL, causes=(), example=None)
    assert explain.render_text([bare, bare], width=None, heading=str) == snapshot("""\
GC999 a title

What it is, in so many words that they do not fit on one line of a terminal.

Fix
  Do `it(right)`.

GC999 a title

What it is, in so many words that they do not fit on one line of a terminal.

Fix
  Do `it(right)`.\
""")


@pytest.mark.parametrize("width", [80, 100])
def test_no_line_of_prose_is_wider_than_the_terminal(width: int) -> None:
    prose = [dataclasses.replace(entry, example=None) for entry in ENTRIES]
    lines = explain.render_text(prose, width=width, heading=str).split("\n")
    assert [line for line in lines if len(line) > width] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_the_list_has_every_code_once() -> None:
    text = explain.render_list(heading=lambda title: f"# {title}")
    assert re.findall(r"^  (GC\d{3})  ", text, re.MULTILINE) == list(CATALOGUE)
    assert re.findall(r"^# (.*)$", text, re.MULTILINE) == list(SECTIONS)


def test_json() -> None:
    codes = json.loads(explain.render_json(ENTRIES))["codes"]
    assert [found["code"] for found in codes] == list(CATALOGUE)
    assert codes[0].keys() == {"section", "code", "title", "explanation", "causes", "fix", "example"}
    assert {found["section"] for found in codes} == set(SECTIONS)


def test_markdown_shows_what_is_written() -> None:
    html = str(MarkdownIt("commonmark").render(explain.render_markdown(ENTRIES)))
    assert html.count("<h2>") == len(ENTRIES)
    assert html.count('<pre><code class="language-python">') == sum(entry.example is not None for entry in ENTRIES)
    assert "<em>" not in html
    assert html.count("<strong>") == len(ENTRIES)  # Fix.
    assert html.count("<li>") == sum(len(entry.causes) for entry in ENTRIES)


def test_the_index_links_to_headings() -> None:
    text = explain.render_document()
    headings = re.findall(r"^### (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = re.findall(r"^\| \[GC\d{3}\]\(#(.*?)\) \|", text, re.MULTILINE)
    assert set(links) == anchors
    assert len(links) == len(CATALOGUE)


def test_the_committed_page_is_up_to_date() -> None:
    committed = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")
    advice = "run: gradcheck explain --format markdown -o docs/codes.md"
    assert committed == explain.render_document() + "\n", advice

"""Links between the README, the pages and the files of the repository lead somewhere, to headings too."""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from tests.docs.pages import PAGES, ROOT

if TYPE_CHECKING:
    from pathlib import Path


_HREF = re.compile(r'<a href="([^"]+)"')
#: The name of a file that MkDocs includes; a section of it may follow.
_INCLUDED = re.compile(r'^--8<-- "([^":]+)', re.MULTILINE)


@cache
def headings(text: str) -> set[str]:
    """The anchors of the headings, as GitHub and MkDocs make them."""
    tokens = MarkdownIt().parse(text)
    titles = [following.content for token, following in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


def links(text: str) -> list[str]:
    """The targets of links and pictures, in HTML too, without those on other hosts."""
    tokens = MarkdownIt().enable("table").parse(text)
    children = [child for token in tokens for child in token.children or ()]
    targets = [str(child.attrs[key]) for child in children for key in ("href", "src") if key in child.attrs]
    targets += [target for token in tokens if token.type == "html_block" for target in _HREF.findall(token.content)]
    return [target for target in targets if not re.match(r"https?://", target)]


def broken(path: Path, text: str) -> list[str]:
    found = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve()
        missing = bool(name) and not other.is_file()
        if missing or (anchor and anchor not in headings(other.read_text(encoding="utf-8") if name else text)):
            found.append(target)
    return found


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert broken(ROOT / name, PAGES[name]) == []


@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if _INCLUDED.search(text)])
def test_a_page_links_to_what_it_includes(name: str) -> None:
    """GitHub shows the line that includes a file as it is."""
    shown = PAGES[name]
    targets = {(ROOT / name).parent.joinpath(target).resolve() for target in links(shown.partition('--8<-- "')[0])}
    assert {ROOT / included for included in _INCLUDED.findall(shown)} <= targets


def test_a_broken_link_is_seen() -> None:
    text = "# One two\n[a](#one-two) [b](#three) [c](docs/nothing.md) [d](docs/ways.md#a-config)\n\n"
    text += '| [e](docs/x.md) |\n| --- |\n\n<p><a href="y.md">y</a> <a href="README.md">z</a></p>\n'
    assert broken(ROOT / "README.md", text) == ["#three", "docs/nothing.md", "docs/x.md", "y.md"]

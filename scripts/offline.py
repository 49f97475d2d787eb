"""That a built site asks no other host for scripts, styles, fonts or pictures: `python -m scripts.offline site`."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

_ELSEWHERE = re.compile(r"^(https?:)?//")
#: Relations of a `<link>` that a browser does not load.
_NOT_LOADED = {"canonical", "next", "prev", "author", "license", "alternate"}


class _Requests(HTMLParser):
    """Collects what a browser would ask another host for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        loaded = tag != "a" and given.get("rel") not in _NOT_LOADED
        targets = [given.get("src", ""), given.get("href", ""), given.get("poster", ""), given.get("data", "")]
        self.found += [target for target in targets if loaded and _ELSEWHERE.match(target)]


def requests(text: str, suffix: str) -> list[str]:
    """Return the addresses on other hosts that a page (`.html`) or a style sheet (`.css`, `.svg`) loads."""
    styled = re.findall(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')\s;]+)", text)
    if suffix != ".html":
        return styled
    page = _Requests()
    page.feed(text)
    return page.found + styled


def main() -> str | None:
    """Name each such address with its file; None if there is none."""
    site = Path(sys.argv[1])
    pages = [path for path in site.rglob("*") if path.suffix in {".html", ".css", ".svg"}]
    if not pages:
        return f"no built pages in {site}"
    found = [(path, url) for path in pages for url in requests(path.read_text(encoding="utf-8"), path.suffix)]
    return "\n".join(f"{path}: {url}" for path, url in found) or None


if __name__ == "__main__":
    sys.exit(main())

"""What a built page would ask another host for is found."""

from __future__ import annotations

import pytest

from scripts.offline import requests


@pytest.mark.parametrize(
    ("text", "suffix", "found"),
    [
        ('<script src="https://cdn.example/x.js"></script>', ".html", ["https://cdn.example/x.js"]),
        ('<link rel="stylesheet" href="//fonts.example/a.css">', ".html", ["//fonts.example/a.css"]),
        ('<img src="http://x.example/a.png">', ".html", ["http://x.example/a.png"]),
        ("<style>a { background: url('https://x.example/b.png') }</style>", ".html", ["https://x.example/b.png"]),
        ('@import "https://x.example/c.css";', ".css", ["https://x.example/c.css"]),
        ('<a href="https://x.example/">x</a><link rel="canonical" href="https://x.example/">', ".html", []),
        ('<script src="assets/x.js"></script>a { background: url(data:image/png;base64,AA) }', ".html", []),
    ],
)
def test_requests_to_other_hosts_are_found(text: str, suffix: str, found: list[str]) -> None:
    assert requests(text, suffix) == found

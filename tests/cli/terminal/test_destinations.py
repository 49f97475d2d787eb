from __future__ import annotations

from pathlib import Path

import click
import pytest

from gradcheck.cli.terminal.destinations import FORMATS, Destination, destinations, parse_formats
from gradcheck.errors import UsageError
from gradcheck.reporters import REPORTERS


def parsed(*values: str) -> tuple[Destination, ...]:
    command = click.Command("run")
    return parse_formats(click.Context(command), click.Option(["--format"]), values)


def test_the_formats_are_those_of_the_reporters() -> None:
    assert list(FORMATS) == list(REPORTERS)


def test_a_format_may_name_its_file() -> None:
    found = parsed("junit:gradients.xml", "github", "html:C:/a:b.html")
    assert found == (
        Destination("junit", Path("gradients.xml")),
        Destination("github"),
        Destination("html", Path("C:/a:b.html")),
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("tabel", "'tabel' is not one of table, concise"),
        ("", "'' is not one of"),
        (":x", "'' is not one of"),
        ("JSON:x", "'JSON' is not one of"),
        ("json:", "'json:' names no file"),
        ("json:.", "'json:.' names a directory"),
    ],
)
def test_wrong_formats(value: str, said: str) -> None:
    with pytest.raises(click.BadParameter, match=said):
        parsed(value)


@pytest.mark.parametrize(
    ("formats", "output", "placed"),
    [
        ((), None, [("table", None)]),
        ((), "o", [("table", "o")]),
        (("json",), "o", [("json", "o")]),
        (("json:f",), None, [("json", "f")]),  # nothing on standard output
        (("json:f", "github"), None, [("json", "f"), ("github", None)]),
        (("json:f", "github"), "o", [("json", "f"), ("github", "o")]),
    ],
)
def test_where_reports_go(formats: tuple[str, ...], output: str | None, placed: list[tuple[str, str | None]]) -> None:
    found = destinations(parsed(*formats), Path(output) if output else None)
    assert [(one.format_, one.file and str(one.file)) for one in found] == placed


@pytest.mark.parametrize(
    ("formats", "output", "said"),
    [
        (("json", "github"), None, "two reports cannot go to standard output"),
        (("json:f", "html:f"), None, "two reports cannot go to f"),
        (("json:o", "html"), "o", "two reports cannot go to o"),
        (("json:f",), "o", "-o o is for a --format without a file"),
    ],
)
def test_reports_that_have_no_place(formats: tuple[str, ...], output: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        destinations(parsed(*formats), Path(output) if output else None)

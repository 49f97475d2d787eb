from __future__ import annotations

from pathlib import Path

import click
import pytest

from gradcheck.cli.terminal.errors import format_mistake, wants_color
from gradcheck.errors import Location, Mistake

MISTAKE = Mistake(
    code="GC003",
    message="unknown key `sed`",
    help="did you mean `seed`?",
).at(Location(path=Path("a/b.yaml"), line=12, column=3, length=3, excerpt="  sed: 1"))
TEXT = """\
error[GC003]: unknown key `sed`
   --> a/b.yaml:12:3
   |
12 |   sed: 1
   |   ^^^
help: did you mean `seed`?"""


def test_the_line_with_carets_under_the_mistake() -> None:
    assert format_mistake(MISTAKE, color=False) == TEXT


def test_colour_changes_nothing_but_colour() -> None:
    coloured = format_mistake(MISTAKE, color=True)
    assert coloured != TEXT
    assert click.unstyle(coloured) == TEXT


def test_without_an_excerpt_a_place_or_help() -> None:
    place = Location(path=Path("a.yaml"), line=1)
    assert format_mistake(Mistake(code="GC001", message="x").at(place), color=False) == (
        "error[GC001]: x\n  --> a.yaml:1:1"
    )
    assert format_mistake(Mistake(code="GC001", message="x"), color=False) == "error[GC001]: x"


def test_a_tab_takes_one_column() -> None:
    place = Location(path=Path("a.yaml"), line=1, column=2, length=1, excerpt="\tx")
    lines = format_mistake(Mistake(code="GC002", message="m").at(place), color=False).splitlines()
    assert lines[-2:] == ["1 |  x", "  |  ^"]


def test_nothing_in_a_config_reaches_the_terminal_as_a_command() -> None:
    place = Location(path=Path("a\x1b.yaml"), line=1, column=2, length=3, excerpt="'\x85\x1bm': 1")
    mistake = Mistake(code="GC003", message="key `\x1bm`", help="\x07").at(place)
    assert format_mistake(mistake, color=False).split("\n") == [
        "error[GC003]: key `\\x1bm`",
        "  --> a\\x1b.yaml:1:2",
        "  |",
        "1 | '\\x85\\x1bm': 1",
        "  |  ^^^",
        "help: \\x07",
    ]


@pytest.mark.parametrize(
    ("choice", "terminal", "no_color", "expected"),
    [
        ("auto", True, "", True),
        ("auto", False, "", False),
        ("always", False, "", True),
        ("never", True, "", False),
        ("always", True, "1", False),
    ],
)
def test_when_to_colour(
    monkeypatch: pytest.MonkeyPatch, *, choice: str, terminal: bool, no_color: str, expected: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    assert wants_color(choice, terminal=terminal) is expected

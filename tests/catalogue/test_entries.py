"""The texts: complete, in order, safe to print as plain text and as Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gradcheck.catalogue import CATALOGUE, SECTIONS, Entry, title

ROOT = Path(__file__).parents[2]
ENTRIES = list(CATALOGUE.values())
#: What DESIGN calls faults: mistakes that a person makes in code, and mends with code.
FAULTS = [entry for entry in ENTRIES if "GC101" <= entry.code <= "GC609"]
#: How many codes each hundred has; GC900 stands alone.
COUNTS = {1: 13, 2: 8, 3: 11, 4: 7, 5: 7, 6: 9, 7: 4, 8: 7}


def ids(entry: Entry) -> str:
    return entry.code


def prose(entry: Entry) -> dict[str, str]:
    causes = {f"cause {place}": cause for place, cause in enumerate(entry.causes)}
    return {"title": entry.title, "explanation": entry.explanation, "fix": entry.fix, **causes}


def test_codes_are_unique_and_in_order() -> None:
    listed = [entry.code for entries in SECTIONS.values() for entry in entries]
    assert listed == list(CATALOGUE) == sorted(CATALOGUE)
    assert all(re.fullmatch(r"GC\d{3}", name) for name in listed)


def test_every_fault_is_there() -> None:
    expected = [f"GC{hundred}{n:02}" for hundred, count in COUNTS.items() for n in range(1, count + 1)]
    assert [name for name in CATALOGUE if name > "GC100"] == [*expected, "GC900"]


def test_every_code_that_the_program_names_is_there() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "gradcheck").rglob("*.py")]
    named = {found for text in sources for found in re.findall(r"\bGC\d{3}\b", text)}
    assert named - set(CATALOGUE) == {"GC049", "GC099", "GC100"} & named  # ends of ranges, in docstrings


def test_title() -> None:
    assert title("GC101") == "cotangent missing"
    with pytest.raises(KeyError):
        title("GC999")


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_texts_are_whole_sentences_on_one_line(entry: Entry) -> None:
    for name, text in prose(entry).items():
        assert text == " ".join(text.split()), name
        assert text, name
    for text in (entry.explanation, entry.fix):
        assert text[0].isupper() or text.startswith("`")
        assert text.endswith((".", "`."))
    for cause in (entry.title, *entry.causes):
        assert not cause.endswith(".")


@pytest.mark.parametrize("entry", ENTRIES, ids=ids)
def test_backticks_are_the_only_markup(entry: Entry) -> None:
    for name, text in prose(entry).items():
        assert text.count("`") % 2 == 0, name
        outside = re.sub(r"`[^`]*`", "", text)
        assert not set(outside) & set("_*<>[]|#~$\\@"), (name, outside)


@pytest.mark.parametrize("entry", FAULTS, ids=ids)
def test_faults_say_what_leads_to_them_and_show_right_code(entry: Entry) -> None:
    assert 2 <= len(entry.causes) <= 4
    assert entry.example is not None


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.example], ids=ids)
def test_every_example_is_python_of_a_few_lines(entry: Entry) -> None:
    assert entry.example is not None
    compile(entry.example, entry.code, "exec")
    lines = entry.example.split("\n")
    assert len(lines) <= 22
    assert max(map(len, lines)) <= 110
    assert not entry.example.startswith((" ", "\n"))
    assert "```" not in entry.example

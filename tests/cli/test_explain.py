"""`gradcheck explain`: which codes, in which form, to where."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gradcheck.catalogue import CATALOGUE
from gradcheck.cli.main import main
from gradcheck.errors import ExitCode
from gradcheck.reporters.explain import render_document

if TYPE_CHECKING:
    from pathlib import Path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def test_without_a_code_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    assert [code for code in CATALOGUE if f"  {code}  " not in text] == []
    assert "Usual causes" not in text


def test_one_code_in_full_without_colour_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "GC101")
    entry = CATALOGUE["GC101"]
    assert text.startswith("GC101 cotangent missing\n\n" + entry.explanation + "\n")
    assert all(f"\n  - {cause}\n" in text for cause in entry.causes)
    assert f"\n  {entry.fix}\n" in text
    assert "\x1b" not in text
    assert text.endswith("gradients = [*of_front, *of_back]\n")


def test_several_codes_whatever_their_case_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "gc203", "GC101", "Gc203")
    assert [line[:5] for line in text.split("\n") if line.startswith("GC")] == ["GC203", "GC101"]


@pytest.mark.parametrize(
    ("codes", "message", "help_"),
    [
        (["GC1O1"], "unknown code: GC1O1", "did you mean `GC101`? `gradcheck explain` lists all codes"),
        (["GC1122", "gc101"], "unknown code: GC1122", "did you mean `GC112"),
        (["x", "GC99"], "unknown codes: X, GC99", "did you mean `GC9"),
        (["nonsense"], "unknown code: NONSENSE", "`gradcheck explain` lists all codes"),
    ],
)
def test_an_unknown_code(capsys: pytest.CaptureFixture[str], codes: list[str], message: str, help_: str) -> None:
    assert main(["explain", *codes]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error[GC010]: {message}\nhelp: {help_}")


def test_markdown_of_all_is_the_page_and_of_one_is_that_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--format", "markdown") == render_document() + "\n"
    text = printed(capsys, "GC504", "--format", "markdown")
    assert text.startswith("## GC504 sign flipped\n\n")
    assert text.endswith("\n```\n")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(json.loads(printed(capsys, "--format", "json"))["codes"]) == len(CATALOGUE)
    (found,) = json.loads(printed(capsys, "gc900", "--format", "json"))["codes"]
    assert (found["code"], found["section"], found["example"]) == ("GC900", "Unexplained", None)


def test_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "codes.md"
    assert printed(capsys, "GC101", "-o", str(path), "--color", "always") == ""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("GC101 ")
    assert "\x1b" not in text


def test_colour_where_asked_for(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert printed(capsys, "GC101", "--color", "always").startswith("\x1b[1mGC101 cotangent missing\x1b[0m\n")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in printed(capsys, "GC101", "--color", "always")


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [(["explain"], {"yaml"}), (["explain", "GC101"], {"yaml"}), (["explain", "--help"], set())],  # the texts are YAML
)
def test_nothing_slow_is_imported(arguments: list[str], needed: set[str]) -> None:
    slow = {"tensorflow", "keras", "numpy", "rich", "pydantic", "yaml", "jinja2"} - needed
    program = (
        "import sys; from gradcheck.cli.main import main\n"
        f"main({arguments!r}); found = {slow!r} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr

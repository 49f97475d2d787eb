"""The README: short, with a picture that is real and two commands that work."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from gradcheck.cli.main import main
from gradcheck.session import patience
from scripts.picture import COMMAND, PICTURE, drawn, example, words
from tests.docs.pages import PAGES, README, ROOT, Command, blocks, commands, not_printed, section

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_is_short() -> None:
    assert len(README.encode()) < 10_000


def test_the_second_command_is_the_one_that_ci_runs() -> None:
    commands = [block.strip() for block in blocks("sh", README)]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_first_command_passes_and_prints_the_sample(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment, install, command = blocks("sh", README)[0].strip().split(" && ")
    assert environment == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install -q ."
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/gradcheck"
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("GRADCHECK_WORKERS", "0")
    assert main(arguments) == 0
    assert not_printed(section("sample", "end of sample", PAGES["docs/index.md"]), capsys.readouterr().out) == []


def test_the_picture_is_what_the_example_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the example goes there, and this brings it back
    monkeypatch.setattr(patience, "SECONDS", 60.0)
    report = example(tmp_path)
    committed = "\n".join(words(PICTURE.read_text(encoding="utf-8")))
    fresh = "\n".join(words(drawn(report)))
    advice = "run: python -m scripts.picture"
    assert not_printed(committed, fresh) == [], advice
    assert not_printed(fresh, committed) == [], advice
    assert COMMAND in committed
    shown = Command(words=tuple(shlex.split(COMMAND)[1:]), code=int(report.exit_code))
    assert shown in commands(README)


def test_the_picture_asks_no_other_host() -> None:
    picture = PICTURE.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in picture

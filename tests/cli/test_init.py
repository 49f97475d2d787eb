from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradcheck.cli.init import template
from gradcheck.cli.main import main
from gradcheck.config import Config, load_config
from gradcheck.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_what_it_writes_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert main(["init", str(path), "-q"]) == ExitCode.OK
    assert load_config(path, require_split=True).config.split is not None
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_default_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init"]) == ExitCode.OK
    assert (tmp_path / "gradcheck.yaml").read_text() == template()
    assert capsys.readouterr() == ("", "wrote gradcheck.yaml; check it with: gradcheck run gradcheck.yaml\n")


def test_nothing_is_overwritten_without_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    assert main(["init", str(path)]) == ExitCode.USAGE
    assert path.read_text() == "precious"
    assert "--force" in capsys.readouterr().err
    assert main(["init", str(path), "--force"]) == ExitCode.OK
    assert path.read_text() == template()


def test_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "-"]) == ExitCode.OK
    assert capsys.readouterr() == (template(), "")


def test_every_key_is_mentioned_with_a_comment() -> None:
    lines = template().splitlines()
    for key in Config.model_fields:
        found = [index for index, line in enumerate(lines) if re.match(rf"(# )?{key}:", line)]
        assert found, key
        assert any("#" in "".join(lines[max(0, index - 1) : index + 2]) for index in found), key


def test_what_is_commented_out_is_valid_too(tmp_path: Path) -> None:
    defaults = [
        line.removeprefix("# ") for line in template().splitlines() if re.match(r"# (name|prec|exec|train)", line)
    ]
    path = tmp_path / "mine.yaml"
    path.write_text(template() + "\n".join(defaults))
    assert load_config(path).config.name == "my-model"

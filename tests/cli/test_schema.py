from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gradcheck.cli.main import main
from gradcheck.config import json_schema
from gradcheck.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_it_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_or_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.json"
    assert main(["schema", "--output", str(path)]) == ExitCode.OK
    assert json.loads(path.read_text()) == json_schema()
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "-o", str(tmp_path / "none" / "schema.json")]) == ExitCode.USAGE
    assert "no such file or directory" in capsys.readouterr().err

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck.cli.main import main
from gradcheck.cli.validate import summary
from gradcheck.errors import ExitCode

ROOT = Path(__file__).parents[2]
VALID = ROOT / "gradcheck" / "config" / "template.yaml"
INVALID = ROOT / "tests" / "examples" / "invalid"


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([0], "1 file: 1 valid"),
        ([0, 6, 0], "3 files: 2 valid, 1 with 6 errors"),
        ([1], "1 file: 1 with 1 error"),
        ([2, 1], "2 files: 2 with 3 errors"),
    ],
)
def test_the_summary(counts: list[int], text: str) -> None:
    assert summary(counts) == text


def test_a_valid_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(VALID)]) == ExitCode.OK
    assert capsys.readouterr() == ("", "1 file: 1 valid\n")


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", "-q", str(VALID)]) == ExitCode.OK
    assert capsys.readouterr() == ("", "")


def test_a_broken_one_beside_the_others(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    paths = [VALID, INVALID / "six_mistakes.yaml", tmp_path / "none.yaml", VALID, tmp_path]
    assert main(["validate", *map(str, paths)]) == ExitCode.USAGE
    text = capsys.readouterr().err
    assert text.endswith("2 files: 1 valid, 1 with 6 errors\n")
    assert [code for code in ("error[GC001]", "error[GC008]", "error[GC022]") if code not in text] == []


def test_a_split_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(INVALID / "no_split.yaml")]) == ExitCode.USAGE
    assert capsys.readouterr().err.count("error[GC026]") == 2
    assert main(["validate", str(INVALID / "no_split.yaml"), "--set", "split={every: layer}"]) == ExitCode.OK


def test_colour_on_demand(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    arguments = ["validate", str(INVALID / "empty.yaml")]
    main(arguments)
    assert "\x1b[" not in capsys.readouterr().err
    main([*arguments, "--color", "always"])
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    main([*arguments, "--color", "always"])
    assert "\x1b[" not in capsys.readouterr().err

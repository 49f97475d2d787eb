from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck.cli.terminal.destinations import Destination
from gradcheck.cli.terminal.github_job import _LARGEST, add_to_summary, annotated
from gradcheck.errors import ConfigErrors, Mistake, RunError

GITHUB = Destination("github")


@pytest.fixture
def summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    return path


def test_the_summary_is_appended_to(summary: Path) -> None:
    summary.write_text("of an earlier command\n", encoding="utf-8")
    add_to_summary("# ä")
    add_to_summary("# b")
    assert summary.read_text(encoding="utf-8") == "of an earlier command\n# ä\n\n# b\n\n"


def test_outside_of_a_job_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    add_to_summary("# a")
    assert (list(tmp_path.iterdir()), capsys.readouterr().out) == ([], "")


@pytest.mark.parametrize("before", [0, 1000, _LARGEST - 50, _LARGEST + 50])
def test_what_github_would_drop_is_left_out_at_the_end(summary: Path, before: int) -> None:
    summary.write_text("x" * before, encoding="utf-8")
    add_to_summary("\n".join(["first ä", *(f"line {i} ä" for i in range(200_000))]))
    text = summary.read_text(encoding="utf-8")
    assert summary.stat().st_size <= max(_LARGEST, before)
    if before <= 1000:
        assert text[before:].startswith("first ä\nline 0 ä\n")
        assert "The rest is left out" in text
    else:
        assert len(text) == before


def test_a_summary_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    with pytest.raises(RunError, match="the step summary cannot be written to"):
        add_to_summary("# a")


@pytest.mark.parametrize(
    ("reports", "printed"),
    [([GITHUB], True), ([Destination("json", Path("f")), GITHUB], True), ([Destination("json")], False)],
)
def test_an_error_without_a_report_is_annotated(
    reports: list[Destination], printed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    mistakes = [Mistake(code="GC001", message="there is no file a", file="a", line=1, column=1, help="did you mean b?")]
    with pytest.raises(ConfigErrors), annotated(reports):
        raise ConfigErrors(mistakes)
    expected = "::error file=a,line=1,col=1,title=gradcheck::error[GC001]: there is no file a%0Ahelp: did you mean b?\n"
    assert capsys.readouterr().out == (expected if printed else "")

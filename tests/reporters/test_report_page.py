"""docs/report.md has every word of the reports, and its example is what is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from gradcheck import check
from gradcheck.reporters import REPORTERS, RenderOptions
from gradcheck.reporters.parts import legend, verdicts
from gradcheck.reporters.parts.columns import COLUMNS
from gradcheck.reporters.parts.words import outcome, verdict
from gradcheck.results.report import Kind, Report
from gradcheck.results.tensor import Status
from gradcheck.session import patience

PAGE = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)))


@pytest.mark.parametrize(
    "word",
    [*(column.title for column in COLUMNS), *verdicts.HEAD, *get_args(Status), *get_args(Kind), *legend.TERMS],
)
def test_every_column_status_and_term_is_explained(word: str) -> None:
    word = word.removeprefix("given ")
    assert word in CODE or any(found.startswith(f"{word} ") for found in CODE)


def test_every_verdict_and_outcome_is_explained(several: Report, unexpected_match: Report, check_error: Report) -> None:
    for run in (*several.runs, *unexpected_match.runs, *check_error.runs):
        assert verdict(run)[0] in CODE
        assert {outcome(found)[0] for found in run.checks} <= CODE


def test_the_example_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(patience, "SECONDS", 60.0)
    config = re.search(r"```yaml\n# parts.yaml\n(.*?)```", PAGE, re.DOTALL)
    shown = re.search(r"<!-- report -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert config
    assert shown
    Path("parts.yaml").write_text(config[1], encoding="utf-8")
    report = check("parts.yaml", verify_reference="always")
    lines = _without_figures(REPORTERS["table"](report, RenderOptions(width=80, show="failed")))
    assert [line for line in _without_figures(shown[1]) if line not in lines] == []
    concise = re.findall(r"^parts.yaml: .*$", PAGE, re.MULTILINE)
    printed = _without_figures(REPORTERS["concise"](report, RenderOptions()))
    assert len(concise) == 3
    assert [line for line in _without_figures("\n".join(concise)) if line not in printed] == []


def _without_figures(text: str) -> list[str]:
    """The lines, with a mark for each number that is not a count: machines differ in the last digits."""
    return [re.sub(r" *-?\d+(\.\d+)?e[+-]\d+| *-?\d+\.\d+", " #", line) for line in text.splitlines()]

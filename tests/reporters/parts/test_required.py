from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters import REPORTERS, RenderOptions
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.results.report import Report

if TYPE_CHECKING:
    from gradcheck.reporters.interface import Show

HEADING = "require: all: 2 of 6 trainable variables are not proven"
LINES = [
    "conv_0/kernel is absent (no gradient): the forward pass never reads it",
    "conv_0/bias is dead (its gradient is zero)",
]


def test_in_words(required: Report, passing: Report) -> None:
    (run,) = required.runs
    assert (shortfall(run), shortfall_lines(run)) == (HEADING, LINES)
    assert (shortfall(passing.runs[0]), shortfall_lines(passing.runs[0])) == ("", [])


@pytest.mark.parametrize("show", ["all", "failed", "summary"])
@pytest.mark.parametrize("name", ["table", "markdown", "html", "junit", "github", "concise"])
def test_every_format_names_the_variables(name: str, show: Show, required: Report) -> None:
    text = REPORTERS[name](required, RenderOptions(show=show)).replace("\\_", "_")
    assert [line for line in LINES if line not in text] == []
    assert ("FAIL require: all: " if name == "concise" else HEADING) in text


@pytest.mark.parametrize("name", ["table", "markdown", "html"])
def test_the_overview_of_several_runs_says_so(name: str, required: Report, passing: Report) -> None:
    text = REPORTERS[name](Report(**{**vars(required), "runs": (*required.runs, *passing.runs)}), RenderOptions())
    assert text.count(HEADING) == 2


def test_junit_has_a_failing_case(required: Report) -> None:
    text = REPORTERS["junit"](required, RenderOptions())
    assert 'name="require"' in text
    assert text.count("<failure ") == 1


def test_github_has_one_error(required: Report) -> None:
    (error,) = [
        line for line in REPORTERS["github"](required, RenderOptions()).splitlines() if line.startswith("::error")
    ]
    assert error.startswith(f"::error file=configs/cnn.yaml,title=gradcheck cnn::{HEADING}%0A")


def test_json_key(required: Report) -> None:
    run = json.loads(REPORTERS["json"](required, RenderOptions()))["runs"][0]
    assert run["unproven"][0] == {
        "path": "conv_0/kernel",
        "status": "absent",
        "note": "the forward pass never reads it",
    }
    assert Report.from_dict({**required.to_dict()}).runs[0].unproven == required.runs[0].unproven

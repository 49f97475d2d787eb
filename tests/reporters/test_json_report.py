from __future__ import annotations

import json

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.json_report import render
from gradcheck.results.report import Report


def test_reads_back_as_the_same_report(sample: Report) -> None:
    text = render(sample, RenderOptions())
    assert Report.from_json(text).to_dict() == sample.to_dict()
    assert json.loads(text)["schema_version"] == "1"


def test_options_change_nothing(failing: Report) -> None:
    assert render(failing, RenderOptions(show="summary", width=20, color=True)) == render(failing, RenderOptions())

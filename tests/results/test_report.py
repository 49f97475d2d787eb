"""A report as a value in Python: its truth, its text, its HTML."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from gradcheck.errors import ExitCode
from gradcheck.results.report import Environment, Report, RunReport, Summary, Tool
from tests.records import check, row


def report(*codes: int) -> Report:
    verdicts: Any = {0: "pass", 1: "fail", 3: "error", 4: "vacuous"}
    runs = tuple(
        RunReport(
            name=f"run_{code}",
            config="",
            seed=0,
            precision="float32",
            execution="eager",
            verdict=verdicts[code],
            exit_code=code,
            checks=(check(row("dense/kernel", "mismatch" if code else "exact"), as_expected=not code),),
        )
        for code in codes
    )
    tool = Tool(name="gradcheck", version="0")
    return Report(tool=tool, environment=Environment(), summary=Summary.of(runs), runs=runs)


@pytest.mark.parametrize(("codes", "expected"), [([0, 0], 0), ([0, 1], 1), ([4, 0], 4), ([1, 4], 1), ([3, 1], 3)])
def test_it_is_true_if_every_run_is_as_expected(codes: list[int], expected: int) -> None:
    assert report(*codes).exit_code is ExitCode(expected)
    assert bool(report(*codes)) is (expected == 0)


def test_it_prints_as_the_concise_report() -> None:
    lines = str(report(0, 1)).splitlines()
    assert lines[0].startswith("run_0: pass vjp: ")
    assert any(line.startswith("run_1: FAIL vjp dense/kernel mismatch") for line in lines)


def test_it_raises_for_a_mismatch_with_that_text() -> None:
    report(0).raise_for_mismatch()
    with pytest.raises(AssertionError) as error:
        report(1).raise_for_mismatch()
    assert str(error.value) == str(report(1))


def test_a_notebook_shows_the_html_report_in_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    page = report(1)._repr_html_()
    assert page is not None
    assert page.startswith("<iframe")
    assert "&lt;html" in page
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert report(1)._repr_html_() is None

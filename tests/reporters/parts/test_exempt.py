from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters import REPORTERS, RenderOptions
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.exempt import expectation, status_label

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_in_words(exempting: Report) -> None:
    needed, unneeded = exempting.runs[0].checks
    proof = (
        "5 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference bit for bit. 10 "
        "exact, 0 close, 0 dead, 0 absent, 1 mismatch. Exempt, and different as expected: conv_0/kernel. Exempt, yet "
        "equal: conv_0/bias, dense/bias."
    )
    assert words.outcome(needed) == ("match", "good")
    assert words.conclusion(needed, 6) == f"numeric: {proof}"
    assert words.outcome(unneeded) == ("MATCH, a mismatch of */b*s was expected", "bad")
    assert words.conclusion(unneeded, 6) == f"forward: MATCHES, but the config expects a mismatch of */b*s: {proof}"
    assert [expectation(check) for check in (needed, unneeded)] == [
        "match but for conv_0/*",
        "match but for conv_0/*, */b*s",
    ]


def test_a_row_that_differs_as_expected_is_no_alarm(exempting: Report) -> None:
    check = exempting.runs[0].checks[0]
    row = check.tensors[0]
    assert (status_label(row), words.status_tone(row, check)) == ("mismatch, exempt", "neutral")
    assert (status_label(check.tensors[1]), words.status_tone(check.tensors[1], check)) == ("exact", "good")


def test_concise(exempting: Report) -> None:
    one, other = REPORTERS["concise"](exempting, RenderOptions()).splitlines()
    exempt = "1 exempt tensor different as expected, the others bit for bit"
    assert one == f"configs/cnn.yaml: pass numeric: 5/6 weights match, {exempt}"
    assert other == f"configs/cnn.yaml: FAIL forward: 5/6 weights match, no mismatch of */b*s, {exempt}"


@pytest.mark.parametrize("name", ["table", "markdown", "html"])
def test_the_row_says_so(name: str, exempting: Report) -> None:
    assert REPORTERS[name](exempting, RenderOptions()).count("mismatch, exempt") >= 2


def test_junit_fails_the_needless_exemption_alone(exempting: Report) -> None:
    text = REPORTERS["junit"](exempting, RenderOptions())
    assert text.count("<failure ") == 1
    assert 'failures="1" errors="0" skipped="0"' in text


def test_github_annotates_the_needless_exemption_alone(exempting: Report) -> None:
    (error,) = [line for line in REPORTERS["github"](exempting, RenderOptions()).splitlines() if "::error" in line]
    assert "forward: MATCHES, but the config expects a mismatch of */b*s" in error


def test_json_keys(exempting: Report) -> None:
    needed, unneeded = json.loads(REPORTERS["json"](exempting, RenderOptions()))["runs"][0]["checks"]
    assert (needed["expect"], needed["exempt"], needed["unneeded"]) == ("match", ["conv_0/*"], [])
    assert unneeded["unneeded"] == ["*/b*s"]
    assert [row["path"] for row in needed["tensors"] if row["exempt"]] == ["conv_0/kernel", "conv_0/bias", "dense/bias"]

"""docs/upstream.md is made of what the sweep found; its scripts print its figures, and `gradcheck layer` agrees."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import tensorflow as tf
import yaml

from gradcheck import check_function
from gradcheck.results.report import Report
from gradcheck.sweeping.reproducer import differ, ran
from scripts.upstream import KNOWN, NOTES, PAGE, Finding, document, findings

REPORT = Report.from_dict(json.loads(KNOWN.read_text(encoding="utf-8")))
TEXT = PAGE.read_text(encoding="utf-8")
FOUND = [finding for run in REPORT.runs for finding in findings(run)]
#: Those of the issue threads that made us look, by what must be among the findings.
EXPECTED = {
    "keras.ops.logaddexp": "first",
    "keras.ops.logaddexp2": "first",
    "keras.ops.ldexp": "first",
    "keras.ops.sinc": "first",
    "keras.ops.hypot": "second",
    "tf.math.xlogy": "first",
    "tf.math.xlog1py": "first",
    "keras.ops.norm": "first",
    "keras.ops.std": "first",
    "tf.math.pow": "second",
    "tf.math.segment_max": "first",
    "tf.linalg.expm": "second",
    "keras.ops.where": "first",
}
RELATIVE = 1e-4


def name(finding: Finding) -> str:
    return f"{finding.call}, {finding.checks[0]}"


def script_of(finding: Finding) -> str:
    assert finding.diagnosis.reproducer is not None
    return finding.diagnosis.reproducer


@pytest.mark.parametrize(("function", "order"), EXPECTED.items())
def test_what_is_known_to_be_wrong_is_found(function: str, order: str) -> None:
    assert order in {finding.order for finding in FOUND if finding.function == function}


def test_the_page_is_the_generated_one() -> None:
    swept = re.search(r"^\d.* functions? with wrong derivatives\.$", TEXT, re.MULTILINE)
    assert swept is not None
    notes = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    assert document(REPORT, notes, swept[0]) == TEXT, "python -m scripts.upstream writes the page"


@pytest.mark.parametrize("finding", FOUND, ids=name)
def test_a_script_is_short_and_prints_what_the_page_says(finding: Finding) -> None:
    script = script_of(finding)
    assert len(script.splitlines()) <= 8
    assert "gradcheck" not in script
    shown = ran(script)
    assert shown is not None
    figures = finding.figures
    mended = f"{finding.call} seems to be mended: it prints {shown.got}, and {shown.right} is right"
    assert differ(shown.got, shown.right), mended
    assert alike(shown.got, figures["got"]), mended
    assert alike(shown.right, figures["right"])


def alike(one: str, other: str) -> bool:
    if "None" in (one, other):
        return one == other
    return float(one) == pytest.approx(float(other), rel=RELATIVE, abs=1e-5, nan_ok=True)


def test_a_mended_function_is_seen() -> None:
    assert not differ("8.0", "8.0")
    assert not alike("8.0", "1.0")
    assert differ("nan", "0.0")
    assert differ("None", "1.0")
    assert not differ("None", "0.0")


@pytest.mark.parametrize("finding", FOUND[::30], ids=name)
def test_layer_convicts_some_too(finding: Finding) -> None:
    convicted_by_layer(finding)


@pytest.mark.on_request
@pytest.mark.parametrize("finding", FOUND, ids=name)
def test_layer_convicts_each(finding: Finding) -> None:
    convicted_by_layer(finding)


def convicted_by_layer(finding: Finding) -> None:
    known: dict[str, Any] = {}
    head = [line for line in script_of(finding).splitlines() if re.match(r"import |f = |x = |x, v = ", line)]
    exec("\n".join(head), known)  # noqa: S102 - of the page
    function = known["f"]
    if finding.checks[0] in ("graph", "xla"):
        function = tf.function(function, jit_compile=finding.checks[0] == "xla")
    if finding.checks[0] in ("reverse_over_forward", "forward_over_forward"):
        pytest.skip("layer differentiates twice in reverse, and forward over reverse")
    if finding.checks[0] == "float32":
        pytest.skip("layer differentiates in float64, whatever the precision of the function")
    report = check_function(function, known["x"], order=2 if finding.order == "second" else 1)
    # Keras refuses the shape of one gradient: an error rather than a mismatch.
    assert report.exit_code == (3 if "isotonic" in finding.call else 1), str(report)

# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

from inline_snapshot import snapshot
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.junit import render

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def read(report: Report, **options: str) -> JUnitXml:
    return JUnitXml.fromstring(render(report, RenderOptions(**options)).encode("utf-8"))  # type: ignore[arg-type]


def cases(report: Report, **options: str) -> dict[tuple[str, str], TestCase]:
    suites: list[TestSuite] = list(read(report, **options))
    return {(case.classname, case.name): case for suite in suites for case in suite}


def test_error_suite(broken: Report) -> None:
    assert render(broken, RenderOptions()) == snapshot("""\
<?xml version="1.0" encoding="utf-8"?>
<testsuites name="gradcheck" tests="1" failures="0" errors="1" skipped="0">
  <testsuite name="configs/broken.yaml" tests="1" failures="0" errors="1" skipped="0">
    <properties>
      <property name="seed" value="0" />
      <property name="precision" value="float32" />
      <property name="execution" value="eager" />
    </properties>
    <testcase classname="broken" name="run" file="configs/broken.yaml">
      <error message="the factory raised ValueError: units must be positive\\nReceived: units=-1" type="GC051">error[GC051]: the factory raised ValueError: units must be positive
Received: units=-1
  --&gt; model.py:12:5
help: see the line above</error>
    </testcase>
  </testsuite>
</testsuites>\
""")


def test_a_case_for_each_check_and_tensor(passing: Report) -> None:
    found = cases(passing)
    assert found["cnn", "vjp"].time == 0.0312
    assert ("cnn.vjp", "conv_0/kernel") in found
    assert len(found) == 12
    assert all(case.is_passed for case in found.values())


def test_failure(failing: Report) -> None:
    found = cases(failing)
    (check,) = found["cnn", "candidate"].result
    assert isinstance(check, Failure)
    assert check.text == snapshot("""\
candidate: 2 of 6 trainable variables do NOT match: conv_0/kernel, conv_0/bias. 9 exact, 0 close, 0 dead, 0 absent, 1 mismatch, 1 missing.

float64 sides with the reference: at conv_0/kernel it is off by 3.0e-08 of its size

GC101 at boundary 0 → 1, layer conv_0: with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.\
""")
    (kernel,) = found["cnn.candidate", "conv_0/kernel"].result
    assert isinstance(kernel, Failure)
    assert (kernel.type, kernel.message) == snapshot(
        (
            "mismatch",
            "mismatch; 24 of 24 elements differ, worst [0,0,0,3]: reference 0.0082, candidate 0.0205; needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0",
        )
    )
    assert found["cnn.candidate", "dense/bias"].is_passed


def test_counts(several: Report) -> None:
    xml = read(several)
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == snapshot((74, 4, 1, 10))
    assert [(suite.name, suite.failures, suite.errors, suite.skipped) for suite in xml] == snapshot(
        [
            ("configs/cnn.yaml", 0, 0, 0),
            ("configs/bad.yaml", 3, 0, 0),
            ("configs/broken.yaml", 0, 1, 0),
            ("configs/vacuous.yaml", 1, 0, 10),
            ("configs/control.yaml", 0, 0, 0),
        ]
    )


def test_an_expected_mismatch_passes(control: Report) -> None:
    assert all(case.is_passed for case in cases(control).values())


def test_an_unexpected_match_fails(unexpected_match: Report) -> None:
    (result,) = cases(unexpected_match)["cnn", "naive"].result
    assert isinstance(result, Failure)


def test_a_check_that_raised_is_an_error(check_error: Report) -> None:
    (result,) = cases(check_error)["cnn", "candidate"].result
    assert isinstance(result, Error)
    assert result.text == "error[GC054]: the candidate raised KeyError: 'conv_9'\n  --> train.py:7"


def test_what_proves_nothing_is_skipped_with_the_reason_and_the_run_fails(vacuous: Report) -> None:
    found = cases(vacuous)
    (dead,) = found["vacuous.vjp", "conv_0/kernel"].result
    assert isinstance(dead, Skipped)
    assert dead.message == "dead: zero on both sides, proves nothing"
    assert found["vacuous", "vjp"].is_skipped
    (coverage,) = found["vacuous", "coverage"].result
    assert isinstance(coverage, Failure)


def test_show_chooses_tensors(failing: Report) -> None:
    assert len(cases(failing, show="summary")) == 2
    assert set(cases(failing, show="failed")) - set(cases(failing, show="summary")) == {
        ("cnn.candidate", "conv_0/kernel"),
        ("cnn.candidate", "conv_0/bias"),
    }


def test_names_are_unique_and_literal(hostile: Report) -> None:
    root = ET.fromstring(render(hostile, RenderOptions()))  # noqa: S314 - our own text
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase") if case.get("name") != "run"]
    assert len(names) == len(set(names)) + 1  # the hostile sample has two checks of one name
    assert any("<script>" in str(name) for _, name in names)


def test_training_steps_have_cases_of_their_own(training: Report) -> None:
    root = ET.fromstring(render(training, RenderOptions()))  # noqa: S314 - our own text
    names = [case.get("name") for case in root.iter("testcase")]
    assert len(names) == len(set(names)) == 13
    assert {"dense/kernel (gradient, step 2)", "dense/kernel (value, step 5)", "loss (step 5)"} <= set(names)
    assert cases(training)["training.vjp", "dense/kernel (gradient, step 2)"].result[0].type == "mismatch"


def test_schedule_warnings_and_notes_are_output(scheduled: Report, failing: Report) -> None:
    suite = ET.fromstring(render(scheduled, RenderOptions())).find("testsuite")  # noqa: S314 - our own text
    assert suite is not None
    assert suite.findtext("system-out") == snapshot("note: GC301: batch statistics are taken for each micro-batch")
    assert cases(scheduled)["scheduled", "vjp"].system_out.split("\n")[::3] == snapshot(
        ["1f1b, 30 micro-batches (F forward, B backward)", "stage 2 segment_2: F0 B0 F1 B1; at most 1 live"]
    )
    assert cases(failing)["cnn", "candidate"].system_out == snapshot(
        "warning: the candidate changed weights; they were put back"
    )

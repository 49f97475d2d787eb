# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest
from inline_snapshot import snapshot

from gradcheck.errors import Mistake
from gradcheck.reporters import RenderOptions
from gradcheck.reporters.github import error_annotations, render

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import Report


def test_failure(failing: Report) -> None:
    assert render(failing, RenderOptions()).split("\n") == snapshot(
        [
            "::error file=configs/cnn.yaml,title=gradcheck cnn candidate::candidate: 2 of 6 trainable variables do NOT match: conv_0/kernel, conv_0/bias. 9 exact, 0 close, 0 dead, 0 absent, 1 mismatch, 1 missing.%0AGC101 at boundary 0 → 1, layer conv_0: with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.%0Aconv_0/kernel mismatch: 24 of 24 elements differ, worst [0,0,0,3]: reference 0.0082, candidate 0.0205%0Aconv_0/bias missing: note: the candidate gives no gradient",
            "::warning file=configs/cnn.yaml,title=gradcheck cnn candidate::the candidate changed weights; they were put back",
            "::notice title=gradcheck::1 config: 1 failed",
        ]
    )


def test_errors(broken: Report, check_error: Report, invalid: Report) -> None:
    lines = [line for report in (broken, check_error, invalid) for line in render(report, RenderOptions()).split("\n")]
    assert lines == snapshot(
        [
            "::error file=model.py,line=12,col=5,title=gradcheck broken::error[GC051]: the factory raised ValueError: units must be positive%0AReceived: units=-1%0Ahelp: see the line above",
            "::notice title=gradcheck::1 config: 1 error",
            "::error file=train.py,line=7,title=gradcheck cnn candidate::error[GC054]: the candidate raised KeyError: 'conv_9'",
            "::notice title=gradcheck::1 config: 1 error",
            "::error file=configs/invalid.yaml,line=7,col=3,title=gradcheck invalid::error[GC003]: unknown key: los%0Ahelp: did you mean loss?",
            "::error file=configs/invalid.yaml,line=1,col=1,title=gradcheck invalid::error[GC005]: missing key: model",
            "::notice title=gradcheck::1 config: 1 error",
        ]
    )


def test_vacuous_is_a_warning(vacuous: Report) -> None:
    lines = render(vacuous, RenderOptions()).split("\n")
    assert [line.partition(" ")[0] for line in lines] == ["::warning", "::notice"]


def test_a_control_is_no_annotation(control: Report) -> None:
    assert render(control, RenderOptions()) == "::notice title=gradcheck::1 config: 1 passed"


def test_an_unexpected_match_is_an_error(unexpected_match: Report) -> None:
    text = render(unexpected_match, RenderOptions())
    assert text.startswith("::error file=configs/cnn.yaml,title=gradcheck cnn naive::naive: MATCHES, but")


def test_summary_leaves_tensors_out(failing: Report) -> None:
    assert "24 of 24 elements" in render(failing, RenderOptions())
    assert "24 of 24 elements" not in render(failing, RenderOptions(show="summary"))


def test_every_line_is_one_command_whatever_the_names(hostile: Report) -> None:
    for line in render(hostile, RenderOptions()).split("\n"):
        found = re.fullmatch(r"::(error|warning|notice) ((?:\w+=[^,:]*)(?:,\w+=[^,:]*)*)::(.*)", line)
        assert found, line
        assert re.search(r"%(?!25|0A|0D|3A|2C)", found[2] + found[3]) is None


@pytest.mark.parametrize("name", ["inconclusive", "warning"])
def test_warnings(failing: Report, name: str) -> None:
    run = failing.runs[0]
    check = dataclasses.replace(run.checks[1], outcome="inconclusive") if name == "inconclusive" else run.checks[0]
    changed = dataclasses.replace(run, checks=(check,), warnings=("override matches nothing",))
    text = render(dataclasses.replace(failing, runs=(changed,)), RenderOptions())
    assert "::warning file=configs/cnn.yaml,title=gradcheck cnn::override matches nothing" in text
    assert ("::warning file=configs/cnn.yaml,title=gradcheck cnn candidate::candidate: inconc" in text) == (
        name == "inconclusive"
    )
    assert "::error" not in text


def test_long_failures_are_cut_to_what_github_shows(large: Report) -> None:
    run = large.runs[0]
    rows = tuple(dataclasses.replace(t, status="mismatch") for t in run.checks[0].tensors)
    check = dataclasses.replace(run.checks[0], tensors=rows)
    text = render(dataclasses.replace(large, runs=(dataclasses.replace(run, checks=(check,)),)), RenderOptions())
    assert "%0Aand 597 more" in text


def test_training_steps_and_notes(training: Report, scheduled: Report) -> None:
    assert [
        line for report in (training, scheduled) for line in render(report, RenderOptions()).split("\n")
    ] == snapshot(
        [
            "::error file=configs/training.yaml,title=gradcheck training vjp::vjp: first wrong in step 2 of 5. 1 of 2 trainable variables does NOT match: dense/kernel. 8 exact, 0 close, 0 dead, 0 absent, 4 mismatch.%0AGC305 (likely): with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.%0Adense/kernel (gradient, step 2) mismatch: 6 of 6 elements differ, worst [0,2]: reference 0.0082, candidate 0.0205%0Adense/kernel (value, step 2) mismatch: 6 of 6 elements differ, worst [0,2]: reference 0.0082, candidate 0.0205%0Adense/kernel (gradient, step 5) mismatch: 6 of 6 elements differ, worst [0,2]: reference 0.0082, candidate 0.0205%0Aand 1 more",
            "::notice title=gradcheck::1 config: 1 failed",
            "::notice file=configs/scheduled.yaml,title=gradcheck scheduled::GC301: batch statistics are taken for each micro-batch",
            "::notice title=gradcheck::1 config: 1 passed",
        ]
    )


def test_a_note_of_a_check_that_passes_is_no_warning(passing: Report) -> None:
    run = passing.runs[0]
    checks = tuple(dataclasses.replace(check, notes=("one Jacobian row at a time",)) for check in run.checks)
    text = render(dataclasses.replace(passing, runs=(dataclasses.replace(run, checks=checks),)), RenderOptions())
    assert "::notice file=configs/cnn.yaml,title=gradcheck cnn vjp::one Jacobian row at a time" in text
    assert "::warning" not in text


def test_a_mistake_in_a_script_is_annotated_at_its_line(failing: Report) -> None:
    (run,) = failing.runs
    check = next(check for check in run.checks if check.diagnoses)
    found = check.diagnoses[0]
    check = dataclasses.replace(check, diagnoses=(dataclasses.replace(found, line="train.py:31"),))
    for config, place in (
        ("jobs/train.py", "file=jobs/train.py,line=31,"),
        ("jobs/other.py", "file=jobs/other.py,title"),
    ):
        of_script = dataclasses.replace(run, config=config, checks=(check,))
        assert place in render(dataclasses.replace(failing, runs=(of_script,)), RenderOptions())


def place(report: Report, **check: object) -> str:
    """The place of the first annotation of a report, whose failing check is changed first."""
    (run,) = report.runs
    changed = dataclasses.replace(run, checks=(dataclasses.replace(run.checks[1], **check),))
    text = render(dataclasses.replace(report, runs=(changed,)), RenderOptions())
    return text.partition(",title=")[0].partition(" ")[2]


def test_the_place_is_the_users_line_then_the_configs(failing: Report) -> None:
    diagnosis = dataclasses.replace(failing.runs[0].checks[1].diagnoses[0], line="step.py:31", file="lib/step.py")
    assert place(failing) == "file=configs/cnn.yaml"
    assert place(failing, asked_at="configs/cnn.yaml:12") == "file=configs/cnn.yaml,line=12"
    assert place(failing, asked_at="C:/train.py:7", diagnoses=()) == "file=C%3A/train.py,line=7"
    assert place(failing, asked_at="configs/cnn.yaml:12", diagnoses=(diagnosis,)) == "file=lib/step.py,line=31"


def test_places_are_below_the_checkout_of_the_job(
    failing: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for file, expected in (("./a.yaml", "a.yaml"), (f"{tmp_path}/sub/a.yaml", "a.yaml"), ("../a.yaml", "../a.yaml")):
        assert place(failing, asked_at=f"{file}:1") == f"file={expected},line=1"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    for file, expected in (
        ("a.yaml", "sub/a.yaml"),
        (f"{tmp_path}/sub/a.yaml", "sub/a.yaml"),
        ("../a.yaml", "a.yaml"),
        ("/elsewhere/a.yaml", "/elsewhere/a.yaml"),
    ):
        assert place(failing, asked_at=f"{file}:1") == f"file={expected},line=1"


def test_an_annotation_has_a_few_lines(failing: Report, large: Report) -> None:
    run = large.runs[0]
    rows = tuple(dataclasses.replace(t, status="mismatch") for t in run.checks[0].tensors)
    diagnoses = failing.runs[0].checks[1].diagnoses * 5
    check = dataclasses.replace(run.checks[0], tensors=rows, diagnoses=diagnoses, outcome="mismatch", as_expected=False)
    text = render(dataclasses.replace(large, runs=(dataclasses.replace(run, checks=(check,)),)), RenderOptions())
    annotation = text.split("\n")[0].split("%0A")
    assert len(annotation) == 8  # what failed, two diagnoses and "and 3 more", three tensors and how many more
    assert (annotation[3], annotation[-1]) == ("and 3 more", f"and {len(rows) - 3} more")


def test_errors_of_no_run() -> None:
    error = Mistake(code="GC008", message="no config below a", file="a", line=1)
    assert error_annotations([error]) == "::error file=a,line=1,title=gradcheck::error[GC008]: no config below a"

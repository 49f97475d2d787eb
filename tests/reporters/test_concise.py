# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

from typing import TYPE_CHECKING

from inline_snapshot import snapshot

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.concise import render
from gradcheck.reporters.parts.text import inline

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_several_runs(several: Report) -> None:
    assert render(several, RenderOptions()) == snapshot("""\
configs/cnn.yaml: pass vjp: 6/6 weights match, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08
configs/bad.yaml: pass vjp: 6/6 weights match, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08
configs/bad.yaml: FAIL candidate: 4/6 weights match, worst conv_0/kernel max_abs 1.23e-02 max_rel 1.5e+00
configs/bad.yaml: diagnosis candidate GC101 at boundary 0 → 1, layer conv_0: with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.
configs/bad.yaml: second opinion candidate float64 sides with the reference: at conv_0/kernel it is off by 3.0e-08 of its size
configs/bad.yaml: FAIL candidate conv_0/kernel mismatch max_abs=1.23e-02 max_rel=1.5e+00 worst[0,0,0,3] reference=0.0082 candidate=0.0205 (24/24 elements)
configs/bad.yaml: FAIL candidate conv_0/bias missing max_abs=- max_rel=- (0/6 elements) the candidate gives no gradient
configs/bad.yaml: warning candidate the candidate changed weights; they were put back
configs/broken.yaml: error[GC051]: the factory raised ValueError: units must be positive\\nReceived: units=-1 at model.py:12:5
configs/vacuous.yaml: vacuous vjp: 0/6 weights match
configs/vacuous.yaml: vacuous Nothing was proven: every gradient is zero or absent on both sides. Leave `loss` out (the default random_cotangent gives no zero gradients), or change `data` or `weights` (GC701).
configs/control.yaml: pass vjp: 6/6 weights match, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08
configs/control.yaml: pass naive: 4/6 weights match, mismatch as expected, worst conv_0/kernel max_abs 1.23e-02 max_rel 1.5e+00\
""")


def test_summary_leaves_tensors_out(failing: Report) -> None:
    text = render(failing, RenderOptions(show="summary"))
    assert "FAIL candidate: 4/6 weights" in text
    assert "FAIL candidate conv_0/kernel" not in text


def test_error_of_a_check(check_error: Report) -> None:
    assert render(check_error, RenderOptions()).split("\n")[1] == snapshot(
        "configs/cnn.yaml: error[GC054]: the candidate raised KeyError: 'conv_9' (candidate)"
    )


def test_unexpected_match(unexpected_match: Report) -> None:
    assert render(unexpected_match, RenderOptions()) == snapshot(
        "configs/cnn.yaml: FAIL naive: 6/6 weights match, match not expected, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08"
    )


def test_figures_that_are_no_numbers(nonfinite: Report) -> None:
    assert render(nonfinite, RenderOptions()) == snapshot("""\
configs/nan.yaml: FAIL vjp: 1/4 weights match
configs/nan.yaml: FAIL vjp a/kernel nonfinite max_abs=- max_rel=- worst[0,1] reference=nan candidate=inf (1/6 elements)\
""")


def test_every_failing_tensor_has_its_line(large: Report) -> None:
    lines = render(large, RenderOptions()).split("\n")
    assert sum(line.startswith("configs/large.yaml: FAIL vjp backbone/") for line in lines) == 3


def test_each_finding_is_one_line_whatever_the_names(hostile: Report) -> None:
    lines = render(hostile, RenderOptions()).split("\n")
    config = inline(hostile.runs[0].config)
    assert all(line.startswith(f"{config}: ") for line in lines)
    # Two errors, a check, its tensor, diagnosis and second opinion, two warnings, two notes, a variable that
    # is not proven, and a check that raised.
    assert len(lines) == 12


def test_training_steps_and_notes(training: Report, scheduled: Report) -> None:
    assert [
        line for report in (training, scheduled) for line in render(report, RenderOptions()).split("\n")
    ] == snapshot(
        [
            "configs/training.yaml: FAIL vjp: 1/2 weights match, first wrong in step 2 of 5, worst dense/kernel (gradient, step 2) max_abs 1.23e-02 max_rel 1.5e+00",
            "configs/training.yaml: diagnosis vjp GC305 (likely): with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.",
            "configs/training.yaml: FAIL vjp dense/kernel (gradient, step 2) mismatch max_abs=1.23e-02 max_rel=1.5e+00 worst[0,2] reference=0.0082 candidate=0.0205 (6/6 elements)",
            "configs/training.yaml: FAIL vjp dense/kernel (value, step 2) mismatch max_abs=1.23e-02 max_rel=1.5e+00 worst[0,2] reference=0.0082 candidate=0.0205 (6/6 elements)",
            "configs/training.yaml: FAIL vjp dense/kernel (gradient, step 5) mismatch max_abs=1.23e-02 max_rel=1.5e+00 worst[0,2] reference=0.0082 candidate=0.0205 (6/6 elements)",
            "configs/training.yaml: FAIL vjp dense/kernel (value, step 5) mismatch max_abs=1.23e-02 max_rel=1.5e+00 worst[0,2] reference=0.0082 candidate=0.0205 (6/6 elements)",
            "configs/scheduled.yaml: pass vjp: 6/6 weights match, worst conv_0/kernel max_abs 1.2e-08 max_rel 3e-08",
            "configs/scheduled.yaml: note GC301: batch statistics are taken for each micro-batch",
        ]
    )

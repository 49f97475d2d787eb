# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import dataclasses
import re

import pytest
from inline_snapshot import snapshot
from rich.cells import cell_len

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.text import inline, number
from gradcheck.reporters.table import render
from gradcheck.results.contribution import Contribution
from gradcheck.results.report import Environment, Report, Sides, Summary, Tool
from tests.reporters.conftest import wrong

RED = "\x1b[1;31m"


def test_in_a_pipe(failing: Report) -> None:
    assert render(failing, RenderOptions()) == snapshot("""\
FAIL cnn (configs/cnn.yaml)
  float32, eager, seed 0
  3 segments
    0: segment_0 (30 parameters): conv_0
    1: segment_1 (150 parameters): conv_1
    2: segment_2 (385 parameters): flatten, dense, activation
  reference: tape, loss 0.253412, gradient norm 1.25, 0.12s

  vjp (expect match): match, 0.0312s
      tensor         kind      status  shape        dtype    max abs  max rel  ULP  cosine  needs rtol
    inputs
      input          input     exact   (3,10,10,1)  float32        0        0    0       1           0
    segment 0: segment_0 (conv_0)
      conv_0/kernel  weight    close   (2,2,1,6)    float32  1.2e-08    3e-08    2       1    3.25e-08
      conv_0/bias    weight    exact   (6)          float32        0        0    0       1           0
      conv_0         boundary  exact   (3,9,9,6)    float32        0        0    0       1           0
    segment 1: segment_1 (conv_1)
      conv_1/kernel  weight    exact   (2,2,6,6)    float32        0        0    0       1           0
      conv_1/bias    weight    exact   (6)          float32        0        0    0       1           0
      conv_1         boundary  exact   (3,8,8,6)    float32        0        0    0       1           0
    segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   weight    exact   (384,1)      float32        0        0    0       1           0
      dense/bias     weight    exact   (1)          float32        0        0    0       1           0
    outputs
      activation     output    exact   (3,1)        float32        0        0    0       1           0
    loss
      loss           loss      exact   ()           float32        0        0    0       1           0
  vjp: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference (worst: conv_0/kernel, max rel 3e-08). 10 exact, 1 close, 0 dead, 0 absent.
  rests on: the model's forward code, shared with the reference

  candidate (expect match): MISMATCH, 0.0312s
      tensor         kind      status    shape        dtype     max abs  max rel       ULP  cosine  needs rtol
    inputs
      input          input     exact     (3,10,10,1)  float32         0        0         0       1           0
    segment 0: segment_0 (conv_0)
      conv_0/kernel  weight    mismatch  (2,2,1,6)    float32  1.23e-02  1.5e+00  1.23e+05   -0.25     1.5e+00
        24 of 24 elements differ, worst [0,0,0,3]: reference 0.0082, candidate 0.0205
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      conv_0/bias    weight    missing   (6)          float32         -        -         -       -           -
        note: the candidate gives no gradient
      conv_0         boundary  exact     (3,9,9,6)    float32         0        0         0       1           0
    segment 1: segment_1 (conv_1)
      conv_1/kernel  weight    exact     (2,2,6,6)    float32         0        0         0       1           0
      conv_1/bias    weight    exact     (6)          float32         0        0         0       1           0
      conv_1         boundary  exact     (3,8,8,6)    float32         0        0         0       1           0
    segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   weight    exact     (384,1)      float32         0        0         0       1           0
      dense/bias     weight    exact     (1)          float32         0        0         0       1           0
    outputs
      activation     output    exact     (3,1)        float32         0        0         0       1           0
    loss
      loss           loss      exact     ()           float32         0        0         0       1           0
    first wrong in backward order: conv_0/kernel
    warning: the candidate changed weights; they were put back
  candidate: 2 of 6 trainable variables do NOT match: conv_0/kernel, conv_0/bias. 9 exact, 0 close, 0 dead, 0 absent, 1 mismatch, 1 missing.
  rests on: the model's forward code, shared with the reference
  float64 sides with the reference: at conv_0/kernel it is off by 3.0e-08 of its size
  GC101 at boundary 0 → 1, layer conv_0: with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of segment 0.
  more: gradcheck explain GC101

  max abs: largest difference
  max rel: largest difference / largest value of the reference
  ULP: largest difference in units in the last place (1: the next number)
  cosine: of the angle between both sides; 1 is the same direction
  needs: smallest rtol, or smallest atol, that alone would pass the tensor
  given: allowed is atol + rtol * |reference|, for each element
  error by layer: first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10 times more, █ above 0.1, ! no gradient or not finite, · proves nothing

FAIL     configs/cnn.yaml
    method     verdict   weights match  max rel  error by layer  codes
    vjp        match            6 of 6    3e-08  ▁▁▁▁▁
    candidate  MISMATCH         4 of 6  1.5e+00  ▁!▁▁▁           GC101\
""")


def test_80_columns(control: Report) -> None:
    assert render(control, RenderOptions(width=80)) == snapshot("""\
PASS cnn (configs/cnn.yaml)
  float32, eager, seed 0
  3 segments
    0: segment_0 (30 parameters): conv_0
    1: segment_1 (150 parameters): conv_1
    2: segment_2 (385 parameters): flatten, dense, activation
  reference: tape, loss 0.253412, gradient norm 1.25, 0.12s

  vjp (expect match): match, 0.0312s
      tensor         kind      status  shape        max abs  max rel  needs rtol
    inputs
      input          input     exact   (3,10,10,1)        0        0           0
    segment 0: segment_0 (conv_0)
      conv_0/kernel  weight    close   (2,2,1,6)    1.2e-08    3e-08    3.25e-08
      conv_0/bias    weight    exact   (6)                0        0           0
      conv_0         boundary  exact   (3,9,9,6)          0        0           0
    segment 1: segment_1 (conv_1)
      conv_1/kernel  weight    exact   (2,2,6,6)          0        0           0
      conv_1/bias    weight    exact   (6)                0        0           0
      conv_1         boundary  exact   (3,8,8,6)          0        0           0
    segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   weight    exact   (384,1)            0        0           0
      dense/bias     weight    exact   (1)                0        0           0
    outputs
      activation     output    exact   (3,1)              0        0           0
    loss
      loss           loss      exact   ()                 0        0           0
  vjp: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss
    match the reference (worst: conv_0/kernel, max rel 3e-08). 10 exact, 1
    close, 0 dead, 0 absent.
  rests on: the model's forward code, shared with the reference

  naive (expect mismatch): mismatch, as expected, 0.0312s
      tensor         kind      status     max abs  max rel  needs rtol
    inputs
      input          input     exact            0        0           0
    segment 0: segment_0 (conv_0)
      conv_0/kernel  weight    mismatch  1.23e-02  1.5e+00     1.5e+00
      conv_0/bias    weight    missing          -        -           -
      conv_0         boundary  exact            0        0           0
    segment 1: segment_1 (conv_1)
      conv_1/kernel  weight    exact            0        0           0
      conv_1/bias    weight    exact            0        0           0
      conv_1         boundary  exact            0        0           0
    segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   weight    exact            0        0           0
      dense/bias     weight    exact            0        0           0
    outputs
      activation     output    exact            0        0           0
    loss
      loss           loss      exact            0        0           0
  naive: does not match, as expected (a control): 2 of 6 trainable variables
    differ (worst: conv_0/kernel, max rel 1.5e+00).
  rests on: the model's forward code, shared with the reference

  max abs: largest difference
  max rel: largest difference / largest value of the reference
  needs rtol: smallest rtol that alone would pass the tensor
  error by layer: first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10
    times more, █ above 0.1, ! no gradient or not finite, · proves nothing

PASS     configs/cnn.yaml
    method  verdict                weights match  max rel  error by layer  codes
    vjp     match                         6 of 6    3e-08  ▁▁▁▁▁
    naive   mismatch, as expected         4 of 6  1.5e+00  ▁!▁▁▁\
""")


def test_error(broken: Report) -> None:
    assert render(broken, RenderOptions(width=80)) == snapshot("""\
ERROR broken (configs/broken.yaml)
  float32, eager, seed 0
  error[GC051]: the factory raised ValueError: units must be positive
    Received: units=-1
    --> model.py:12:5
    help: see the line above

ERROR    configs/broken.yaml  GC051\
""")


def test_config_error_with_its_line(invalid: Report) -> None:
    assert render(invalid, RenderOptions()) == snapshot("""\
ERROR invalid (configs/invalid.yaml)
  float32, eager, seed 0
  error[GC003]: unknown key: los
    --> configs/invalid.yaml:7:3
        los: MSE
        ^^^
    help: did you mean loss?
  error[GC005]: missing key: model
    --> configs/invalid.yaml:1:1

ERROR    configs/invalid.yaml  GC003, GC005\
""")


def test_figures_that_are_no_numbers(nonfinite: Report) -> None:
    assert render(nonfinite, RenderOptions(width=100)) == snapshot("""\
FAIL nan (configs/nan.yaml)
  float32, eager, seed 0
  reference: tape, loss -, gradient norm inf, -

  vjp (expect match): MISMATCH, 0.0312s
      tensor    status        max abs  max rel  noise floor  needs rtol  worst  reference  candidate
    segment 0
      a/kernel  nonfinite           -        -            -           -  [0,1]        nan        inf
        1 of 6 elements differ
        no tolerance would pass; given rtol 1e-05, atol 0
      b/kernel  absent              -        -            -           -      -          -          -
      c/kernel  inconclusive    1e-01    2e-01            -           -      -          -          -
      d/kernel  close         1.2e-08    3e-08        1e-09    3.25e-08      -          -          -
  vjp: 1 of 4 trainable variables does NOT match: a/kernel. 0 exact, 1 close, 0 dead, 1 absent, 1
    inconclusive, 1 nonfinite.
  rests on: the model's forward code, shared with the reference

  max abs: largest difference
  max rel: largest difference / largest value of the reference
  noise floor: how far rounding moves the reference (4 times that is close)
  needs: smallest rtol, or smallest atol, that alone would pass the tensor
  given: allowed is atol + rtol * |reference|, for each element
  error by layer: first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10 times more, █ above
    0.1, ! no gradient or not finite, · proves nothing

FAIL     configs/nan.yaml
    method  verdict   weights match  max rel  error by layer  codes
    vjp     MISMATCH         1 of 4        -  !··▁\
""")


def test_failed_rows_only(failing: Report) -> None:
    assert render(failing, RenderOptions(width=100, show="failed")) == snapshot("""\
FAIL cnn (configs/cnn.yaml)
  float32, eager, seed 0
  3 segments
    0: segment_0 (30 parameters): conv_0
    1: segment_1 (150 parameters): conv_1
    2: segment_2 (385 parameters): flatten, dense, activation
  reference: tape, loss 0.253412, gradient norm 1.25, 0.12s

  vjp (expect match): match, 0.0312s
    11 rows not shown (--show all)
  vjp: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference
    (worst: conv_0/kernel, max rel 3e-08). 10 exact, 1 close, 0 dead, 0 absent.
  rests on: the model's forward code, shared with the reference

  candidate (expect match): MISMATCH, 0.0312s
      tensor         status     max abs  max rel  needs rtol      worst  reference  candidate
    segment 0: segment_0 (conv_0)
      conv_0/kernel  mismatch  1.23e-02  1.5e+00     1.5e+00  [0,0,0,3]     0.0082     0.0205
        24 of 24 elements differ
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      conv_0/bias    missing          -        -           -          -          -          -
        note: the candidate gives no gradient
    9 rows not shown (--show all)
    first wrong in backward order: conv_0/kernel
    warning: the candidate changed weights; they were put back
  candidate: 2 of 6 trainable variables do NOT match: conv_0/kernel, conv_0/bias. 9 exact, 0
    close, 0 dead, 0 absent, 1 mismatch, 1 missing.
  rests on: the model's forward code, shared with the reference
  float64 sides with the reference: at conv_0/kernel it is off by 3.0e-08 of its size
  GC101 at boundary 0 → 1, layer conv_0: with the cotangent of boundary 0 set to ones, every
    gradient equals the candidate's. Fix: pass output_gradients=cotangent to tape.gradient of
    segment 0.
  more: gradcheck explain GC101

  max abs: largest difference
  max rel: largest difference / largest value of the reference
  needs: smallest rtol, or smallest atol, that alone would pass the tensor
  given: allowed is atol + rtol * |reference|, for each element
  error by layer: first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10 times more, █ above
    0.1, ! no gradient or not finite, · proves nothing

FAIL     configs/cnn.yaml
    method     verdict   weights match  max rel  error by layer  codes
    vjp        match            6 of 6    3e-08  ▁▁▁▁▁
    candidate  MISMATCH         4 of 6  1.5e+00  ▁!▁▁▁           GC101\
""")


def test_several_runs_end_with_a_summary(several: Report) -> None:
    text = render(several, RenderOptions(show="summary"))
    assert text.split("\n\n")[-1] == snapshot("""\
PASS     configs/cnn.yaml      vjp: match
FAIL     configs/bad.yaml
         method     verdict   weights match  max rel  error by layer  codes
         vjp        match            6 of 6    3e-08  ▁▁▁▁▁
         candidate  MISMATCH         4 of 6  1.5e+00  ▁!▁▁▁           GC101
ERROR    configs/broken.yaml   GC051
VACUOUS  configs/vacuous.yaml
         method  verdict         weights match  max rel  error by layer  codes
         vjp     nothing proven         0 of 6        -  ····▁
PASS     configs/control.yaml  vjp: match, naive: mismatch, as expected
5 configs: 2 passed, 1 failed, 1 error, 1 vacuous (nothing proven)\
""")


def test_no_run() -> None:
    empty = Report(tool=Tool(name="gradcheck", version="0"), environment=Environment(), summary=Summary.of(()), runs=())
    assert render(empty, RenderOptions()) == "0 configs: nothing run"


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_no_line_is_wider_than_the_terminal(sample: Report, width: int, *, verbose: bool) -> None:
    text = render(sample, RenderOptions(width=width, verbose=verbose))
    assert [line for line in text.split("\n") if cell_len(line) > width] == []


@pytest.mark.parametrize("width", [None, 80, 200])
def test_no_trailing_spaces(sample: Report, width: int | None) -> None:
    text = render(sample, RenderOptions(width=width))
    assert [line for line in text.split("\n") if line != line.rstrip()] == []


def test_in_a_pipe_every_path_is_complete(sample: Report) -> None:
    text = render(sample, RenderOptions())
    paths = [t.path for run in sample.runs for check in run.checks for t in check.tensors]
    assert [path for path in paths if inline(path) not in text] == []


@pytest.mark.parametrize("width", [80, 200])
def test_600_rows_are_all_there_with_whole_numbers(large: Report, width: int) -> None:
    lines = render(large, RenderOptions(width=width)).split("\n")
    rows = [line.split() for line in lines if re.search(r" (close|mismatch) ", line) and line.startswith(" " * 6)]
    tensors = large.runs[0].checks[0].tensors
    assert len(rows) == 600
    assert all(number(t.max_rel_error) in row for t, row in zip(tensors, rows, strict=True))
    assert sum(line.startswith("    segment ") for line in lines) == 60


def test_narrow_terminals_lose_columns_not_digits(passing: Report) -> None:
    headers = {}
    for width in (40, 60, 80, 200):
        text = render(passing, RenderOptions(width=width))
        headers[width] = next(line.split("  ") for line in text.split("\n") if line.strip().startswith("tensor"))
    titles = {width: [title.strip() for title in header if title] for width, header in headers.items()}
    assert titles == snapshot(
        {
            40: ["tensor", "status", "max rel"],
            60: ["tensor", "status", "max abs", "max rel", "needs rtol"],
            80: ["tensor", "kind", "status", "shape", "max abs", "max rel", "needs rtol"],
            200: ["tensor", "kind", "status", "shape", "dtype", "max abs", "max rel", "ULP", "cosine", "needs rtol"],
        }
    )


def test_wide_characters_stay_aligned(passing: Report) -> None:
    run = passing.runs[0]
    rows = tuple(dataclasses.replace(t, path=f"層{t.path}") for t in run.checks[0].tensors)
    check = dataclasses.replace(run.checks[0], tensors=rows)
    wide = dataclasses.replace(passing, runs=(dataclasses.replace(run, checks=(check,)),))
    lines = render(wide, RenderOptions(width=80)).split("\n")
    assert len({cell_len(line) for line in lines if "層" in line and line.startswith("      ")}) == 1


def test_colour_adds_nothing_but_colour(sample: Report) -> None:
    plain = render(sample, RenderOptions(width=80))
    colored = render(sample, RenderOptions(width=80, color=True))
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == plain


def test_a_control_is_not_red(control: Report, failing: Report) -> None:
    assert RED in render(failing, RenderOptions(width=80, color=True))
    assert RED not in render(control, RenderOptions(width=80, color=True))


def test_the_environment_is_for_the_verbose(passing: Report) -> None:
    line = "gradcheck 0.1.0, Python 3.11.2, TensorFlow 2.21.0, Keras 3.15.0, NumPy 2.4.0, on CPU"
    assert line in render(passing, RenderOptions(verbose=True))
    assert line not in render(passing, RenderOptions())


def test_many_segments_in_brief_only_at_a_terminal(large: Report) -> None:
    assert "and 52 more (-v lists them)" in render(large, RenderOptions(width=80, show="failed"))
    for options in (RenderOptions(show="failed"), RenderOptions(width=80, show="failed", verbose=True)):
        text = render(large, options)
        assert "more (-v" not in text
        assert "    59: segment_59 (" in text


@pytest.mark.parametrize(("method", "last"), [("audit", "dense_7/kernel, and 17 more"), ("vjp", "dense_24/kernel")])
def test_the_layers_of_a_large_segment_of_an_audit_are_cut_off(passing: Report, method: str, last: str) -> None:
    (run,) = passing.runs
    run = dataclasses.replace(run, checks=tuple(dataclasses.replace(one, method=method) for one in run.checks))
    segment = dataclasses.replace(run.segments[0], layers=tuple(f"dense_{i}/kernel" for i in range(25)))
    report = dataclasses.replace(passing, runs=(dataclasses.replace(run, segments=(segment, *run.segments[1:])),))
    brief, verbose = (render(report, RenderOptions(verbose=verbose)) for verbose in (False, True))
    assert f"{last}\n" in brief
    assert "dense_24/kernel\n" in verbose


def test_the_diagnosis_of_an_audit_stands_before_its_rows(failing: Report) -> None:
    (run,) = failing.runs
    check = dataclasses.replace(run.checks[-1], method="audit")
    report = dataclasses.replace(failing, runs=(dataclasses.replace(run, checks=(check,)),))
    diagnosis, row = (f"{check.diagnoses[0].code} ", check.failures[0].path)
    for before, text in ((True, render(report, RenderOptions())), (False, render(failing, RenderOptions()))):
        below = text[text.index("(expect match)") :]
        assert below.count("more: gradcheck explain") == 1
        assert (below.index(diagnosis) < below.index(row)) is before


def test_markup_of_rich_is_shown_as_it_is(hostile: Report) -> None:
    text = render(hostile, RenderOptions(color=True, width=200))
    assert "[red]x[/red]" in text
    assert r"\x1b[31mANSI\x1b[0m" in text


def test_what_each_chunk_adds_is_shown_but_in_the_summary(passing: Report) -> None:
    run = passing.runs[0]
    found = Contribution(path="lstm/kernel", segments=(0, 1), norms=(0.0, 0.25))
    check = dataclasses.replace(run.checks[0], contributions=(found,))
    report = dataclasses.replace(passing, runs=(dataclasses.replace(run, checks=(check,)),))
    heading = "what each chunk adds to the gradient (2-norm)"
    lines = [line.strip() for line in render(report, RenderOptions(show="failed")).splitlines()]
    assert lines[lines.index(heading) + 1] == words.contribution_lines(check, run.segments)[0]
    assert heading not in render(report, RenderOptions(show="summary"))


def test_training_steps(training: Report) -> None:
    assert render(training, RenderOptions(width=80)) == snapshot("""\
FAIL training (configs/training.yaml)
  float32, eager, seed 0
  3 segments
    0: segment_0 (30 parameters): conv_0
    1: segment_1 (150 parameters): conv_1
    2: segment_2 (385 parameters): flatten, dense, activation
  reference: tape, loss 0.253412, gradient norm 1.25, 0.12s

  vjp (expect match): MISMATCH, 0.0312s
      tensor         step        status    max rel  worst  reference  candidate
    step 2, segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   2 gradient  mismatch  1.5e+00  [0,2]     0.0082     0.0205
        6 of 6 elements differ
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      dense/bias     2 gradient  exact           0      -          -          -
      dense/kernel   2 value     mismatch  1.5e+00  [0,2]     0.0082     0.0205
        6 of 6 elements differ
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      dense/bias     2 value     exact           0      -          -          -
    step 2, loss
      loss           2           exact           0      -          -          -
    step 2, optimizer
      sgd/iteration  2 value     exact           0      -          -          -
    step 5, segment 2: segment_2 (flatten, dense, activation)
      dense/kernel   5 gradient  mismatch  1.5e+00  [0,2]     0.0082     0.0205
        6 of 6 elements differ
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      dense/bias     5 gradient  exact           0      -          -          -
      dense/kernel   5 value     mismatch  1.5e+00  [0,2]     0.0082     0.0205
        6 of 6 elements differ
        needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0
      dense/bias     5 value     exact           0      -          -          -
    step 5, loss
      loss           5           exact           0      -          -          -
    step 5, optimizer
      sgd/iteration  5 value     exact           0      -          -          -
    first wrong in backward order: dense/kernel
  vjp: first wrong in step 2 of 5. 1 of 2 trainable variables does NOT match:
    dense/kernel. 8 exact, 0 close, 0 dead, 0 absent, 4 mismatch.
  rests on: the model's forward code, shared with the reference
  GC305 (likely): with the cotangent of boundary 0 set to ones, every gradient
    equals the candidate's. Fix: pass output_gradients=cotangent to
    tape.gradient of segment 0.
  more: gradcheck explain GC305

  step: which training step, and its gradient or the value after it
  max rel: largest difference / largest value of the reference
  needs: smallest rtol, or smallest atol, that alone would pass the tensor
  given: allowed is atol + rtol * |reference|, for each element
  error by layer: first to last, ▁ equal, ▂ up to 1e-6 off, each higher bar 10
    times more, █ above 0.1, ! no gradient or not finite, · proves nothing

FAIL     configs/training.yaml
    method  verdict   weights match  max rel  error by layer  codes
    vjp     MISMATCH         1 of 2  1.5e+00  █               GC305\
""")


@pytest.mark.parametrize("width", [60, 80, None])
def test_every_row_of_training_says_its_step_and_quantity(training: Report, width: int | None) -> None:
    text = render(training, RenderOptions(width=width))
    assert re.findall(r"^ {6}dense/\w+ +(\d \w+) ", text, re.MULTILINE) == [
        "2 gradient", "2 gradient", "2 value", "2 value", "5 gradient", "5 gradient", "5 value", "5 value",
    ]  # fmt: skip


def test_no_step_column_without_steps(passing: Report) -> None:
    assert "step" not in render(passing, RenderOptions())


def test_a_schedule_is_whole_but_at_a_terminal(scheduled: Report) -> None:
    (check,) = scheduled.runs[0].checks
    assert check.schedule is not None
    work = " ".join(check.schedule.stages[0].work)
    assert f"      stage 0 segment_0: {work}; at most 2 live" in render(scheduled, RenderOptions())
    text = render(scheduled, RenderOptions(width=80))
    assert work not in text
    assert "      stage 0 segment_0: F0 F1 B0 F2 B1 ... F28 B27 F29 B28 B29; at most 2 live\n" in text


def test_a_schedule_of_many_stages_in_brief_only_at_a_terminal(scheduled: Report) -> None:
    run = scheduled.runs[0]
    (check,) = run.checks
    assert check.schedule is not None
    many = dataclasses.replace(check.schedule, stages=check.schedule.stages * 4)
    wide = dataclasses.replace(run, checks=(dataclasses.replace(check, schedule=many),))
    report = dataclasses.replace(scheduled, runs=(wide,))
    counts = {
        options: len(re.findall(r"^ +stage \d", render(report, options), re.MULTILINE))
        for options in (
            RenderOptions(),
            RenderOptions(width=80),
            RenderOptions(width=80, verbose=True),
            RenderOptions(show="failed"),
        )
    }
    assert list(counts.values()) == [12, 8, 12, 0]
    assert "and 4 more (-v lists them)" in render(report, RenderOptions(width=80))


def test_notes_and_the_way_to_more(scheduled: Report, failing: Report) -> None:
    text = render(scheduled, RenderOptions())
    assert "\n    note: GC301: batch statistics are taken for each micro-batch\n" in text
    assert "explain" not in text
    assert "\n  more: gradcheck explain GC101\n" in render(failing, RenderOptions())


def test_an_error_is_said_once_and_once_for_all_methods_that_have_it(check_error: Report) -> None:
    (run,) = check_error.runs
    check = run.checks[-1]
    again = dataclasses.replace(check, method="again")
    report = dataclasses.replace(check_error, runs=(dataclasses.replace(run, checks=(*run.checks, again)),))
    assert check.error is not None
    message = check.error.message.split("\n", maxsplit=1)[0]
    text = render(report, RenderOptions())
    assert text.count(message) == 1
    assert f"    the same error as {check.method}\n" in text
    assert text.splitlines()[-1].split() == ["again", "ERROR", "-", "-", check.error.code]


@pytest.mark.parametrize("width", [80, 120])
def test_the_worst_element_has_columns_named_by_the_sides(failing: Report, width: int) -> None:
    (run,) = failing.runs
    check = dataclasses.replace(run.checks[-1], sides=Sides("tape", "finite differences", "forward pass alone"))
    report = dataclasses.replace(failing, runs=(dataclasses.replace(run, checks=(check,)),))
    text = render(report, RenderOptions(width=width, show="failed"))
    (header,) = [line for line in text.splitlines() if line.strip().startswith("tensor")]
    assert header.split("  ")[-2].strip() == "tape"
    assert header.endswith("  finite differences")
    assert re.search(r"mismatch .*\[0,0,0,3\]  0.0082              0.0205$", text, re.MULTILINE)
    assert "worst [" not in text


def test_state_has_another_name_which_no_column_can_have(failing: Report) -> None:
    (run,) = failing.runs
    rows = tuple(dataclasses.replace(t, kind="state") for t in run.checks[-1].tensors)
    check = dataclasses.replace(run.checks[-1], sides=Sides("tape", "finite differences", "forward pass"), tensors=rows)
    report = dataclasses.replace(failing, runs=(dataclasses.replace(run, checks=(check,)),))
    text = render(report, RenderOptions(width=120, show="failed"))
    assert "worst [0,0,0,3]: tape 0.0082, forward pass 0.0205" in text


def test_a_path_that_does_not_fit_stands_above_its_row(passing: Report) -> None:
    run = passing.runs[0]
    paths = [f"transformer_encoder_layer_{i}/multi_head_attention/query_projection/kernel" for i in range(2)]
    rows = tuple(dataclasses.replace(run.checks[0].tensors[1], path=path) for path in paths)
    check = dataclasses.replace(run.checks[0], tensors=rows)
    lines = render(dataclasses.replace(passing, runs=(dataclasses.replace(run, checks=(check,)),)),
                   RenderOptions(width=80)).split("\n")  # fmt: skip
    assert [line.strip() for line in lines if "transformer_encoder_layer_" in line and "..." not in line][:2] == paths


@pytest.mark.parametrize("width", [60, 80, 200, None])
def test_the_lines_of_a_script_are_told_however_narrow(failing: Report, width: int | None) -> None:
    (run,) = failing.runs
    rows = tuple(dataclasses.replace(t, lines=("train.py:123", "train.py:124")) for t in run.checks[-1].tensors)
    check = dataclasses.replace(run.checks[-1], tensors=rows)
    report = dataclasses.replace(failing, runs=(dataclasses.replace(run, checks=(check,)),))
    assert "train.py:123 train.py:124" in render(report, RenderOptions(width=width, show="failed"))


@pytest.mark.parametrize(("width", "method"), [(80, "vjp"), (80, "audit"), (None, "audit")])
def test_of_many_failing_rows_the_first_are_explained(large: Report, width: int | None, method: str) -> None:
    run = large.runs[0]
    rows = tuple(dataclasses.replace(wrong("a/kernel"), path=f"a/kernel_{i}") for i in range(20))
    check = dataclasses.replace(run.checks[0], method=method, tensors=rows, outcome="mismatch", as_expected=False)
    report = dataclasses.replace(large, runs=(dataclasses.replace(run, checks=(check,)),))
    brief, verbose = (render(report, RenderOptions(width=width, verbose=verbose)) for verbose in (False, True))
    assert (brief.count("needs rtol 1"), verbose.count("needs rtol 1")) == (8, 20)
    assert "    and 12 more failing rows (-v says how far each is off)\n" in brief
    assert all(f"a/kernel_{i} " in brief for i in range(20))


def test_the_last_lines_of_one_config_are_its_verdicts(failing: Report) -> None:
    lines = render(failing, RenderOptions(width=80)).splitlines()
    assert [line.split()[:2] for line in lines[-4:]] == [
        ["FAIL", "configs/cnn.yaml"], ["method", "verdict"], ["vjp", "match"], ["candidate", "MISMATCH"],
    ]  # fmt: skip

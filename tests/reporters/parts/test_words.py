# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from inline_snapshot import snapshot

from gradcheck.reporters.parts import words
from gradcheck.results.contribution import Contribution
from gradcheck.results.report import Coverage, Diagnosis, Report, Sides, TensorReport

DIAGNOSIS = Diagnosis(
    code="GC101", title="cotangent missing", segment=None, layer=None, confidence="exact", evidence="", fix=""
)


def conclusions(report: Report) -> list[str]:
    return [words.conclusion(check, run.coverage.trainable) for run in report.runs for check in run.checks]


def test_what_a_check_rests_on(passing: Report, check_error: Report) -> None:
    (check,) = passing.runs[0].checks
    assert words.rests_on(check) == "rests on: the model's forward code, shared with the reference"
    assert words.rests_on(dataclasses.replace(check, rests_on="")) == ""
    assert words.rests_on(check_error.runs[0].checks[1]) == ""  # it proves nothing


def test_pass(passing: Report) -> None:
    assert conclusions(passing) == snapshot(
        [
            "vjp: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference (worst: conv_0/kernel, max rel 3e-08). 10 exact, 1 close, 0 dead, 0 absent."
        ]
    )


def test_failure(failing: Report) -> None:
    assert conclusions(failing)[1] == snapshot(
        "candidate: 2 of 6 trainable variables do NOT match: conv_0/kernel, conv_0/bias. 9 exact, 0 close, 0 dead, 0 absent, 1 mismatch, 1 missing."
    )


def test_expected_mismatch(control: Report) -> None:
    assert conclusions(control)[1] == snapshot(
        "naive: does not match, as expected (a control): 2 of 6 trainable variables differ (worst: conv_0/kernel, max rel 1.5e+00)."
    )
    assert words.outcome(control.runs[0].checks[1]) == ("mismatch, as expected", "neutral")


def test_unexpected_match(unexpected_match: Report) -> None:
    assert conclusions(unexpected_match) == snapshot(
        [
            "naive: MATCHES, but the config expects a mismatch: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference (worst: conv_0/kernel, max rel 3e-08). 10 exact, 1 close, 0 dead, 0 absent."
        ]
    )
    assert words.outcome(unexpected_match.runs[0].checks[0])[1] == "bad"


def test_error(check_error: Report) -> None:
    assert conclusions(check_error)[1] == snapshot("candidate: error[GC054]: the candidate raised KeyError: 'conv_9'")


def test_vacuous(vacuous: Report) -> None:
    assert conclusions(vacuous) == snapshot(
        [
            "vjp: nothing was proven: none of 6 trainable variables has a gradient to compare. 2 exact, 0 close, 9 dead, 0 absent. Proves nothing, dead (zero on both sides): conv_0/kernel, conv_0/bias, conv_1/kernel, conv_1/bias, dense/kernel, dense/bias, input, conv_0, conv_1."
        ]
    )
    assert words.outcome(vacuous.runs[0].checks[0]) == ("nothing proven", "warn")


def test_nonfinite(nonfinite: Report) -> None:
    assert conclusions(nonfinite) == snapshot(
        [
            "vjp: 1 of 4 trainable variables does NOT match: a/kernel. 0 exact, 1 close, 0 dead, 1 absent, 1 inconclusive, 1 nonfinite."
        ]
    )


def test_gradients_right_and_a_boundary_wrong(skip: Report) -> None:
    assert conclusions(skip) == snapshot(
        [
            "vjp: 1 of 3 boundaries does NOT match: skip. All 2 of 2 trainable variables do. 2 exact, 2 close, 0 dead, 0 absent, 1 mismatch."
        ]
    )


def test_inconclusive(nonfinite: Report) -> None:
    check = dataclasses.replace(nonfinite.runs[0].checks[0], outcome="inconclusive")
    assert words.conclusion(check, 4) == snapshot(
        "vjp: inconclusive: 1 of 4 trainable variables undecided. 0 exact, 1 close, 0 dead, 1 absent, 1 inconclusive, 1 nonfinite."
    )
    assert words.outcome(check) == ("inconclusive", "warn")


def test_a_mismatch_that_no_tensor_shows(passing: Report) -> None:
    check = dataclasses.replace(passing.runs[0].checks[0], outcome="mismatch", as_expected=False, loss_abs_error=0.5)
    assert words.conclusion(check, 6) == snapshot(
        "vjp: does NOT match (loss off by 5e-01). 10 exact, 1 close, 0 dead, 0 absent."
    )


def test_a_variable_without_a_row_is_not_proven(passing: Report) -> None:
    assert words.conclusion(passing.runs[0].checks[0], 8).startswith("vjp: 6 of 8 trainable variables, ")


def test_a_pass_names_what_it_does_not_prove(passing: Report) -> None:
    check = passing.runs[0].checks[0]
    rows = tuple(dataclasses.replace(t, status="dead") if t.path == "conv_1/bias" else t for t in check.tensors)
    sentence = words.conclusion(dataclasses.replace(check, tensors=rows), 6)
    assert sentence.startswith("vjp: 5 of 6 trainable variables, ")
    assert sentence.endswith(" Proves nothing, dead (zero on both sides): conv_1/bias.")


def test_in_training_a_path_counts_once_and_must_match_in_every_step(passing: Report) -> None:
    check = passing.runs[0].checks[0]
    twice = dataclasses.replace(check, tensors=check.tensors * 2)
    assert words.weight_counts(twice, 6) == (6, 6)
    later = tuple(dataclasses.replace(t, status="mismatch") if t.path == "dense/bias" else t for t in check.tensors)
    assert words.weight_counts(dataclasses.replace(check, tensors=check.tensors + later), 6) == (5, 6)


@pytest.mark.parametrize(
    ("coverage", "advice"),
    [
        (Coverage(trainable=0, compared=0, absent=0, dead=0), "no trainable variable. Set trainable=True"),
        (Coverage(trainable=6, compared=3, absent=3, dead=3), "zero or absent on both sides. Leave `loss` out"),
        (Coverage(trainable=6, compared=0, absent=0, dead=0), "no gradient was compared. Name other `methods`"),
    ],
)
def test_advice_for_a_vacuous_run(vacuous: Report, coverage: Coverage, advice: str) -> None:
    assert advice in words.vacuous_advice(dataclasses.replace(vacuous.runs[0], coverage=coverage))


def test_advice_where_everything_is_inconclusive(vacuous: Report) -> None:
    run = vacuous.runs[0]
    checks = tuple(dataclasses.replace(check, outcome="inconclusive") for check in run.checks)
    assert "Take smoother activations" in words.vacuous_advice(dataclasses.replace(run, checks=checks))
    checks = tuple(dataclasses.replace(check, notes=("the split is one segment",)) for check in checks)
    assert "for the reasons noted" in words.vacuous_advice(dataclasses.replace(run, checks=checks))


def failing_tensors(report: Report) -> dict[str, TensorReport]:
    return {t.path: t for run in report.runs for check in run.checks for t in check.failures}


def test_failure_lines(failing: Report, nonfinite: Report) -> None:
    rows = failing_tensors(failing) | failing_tensors(nonfinite)
    assert {path: words.failure_lines(row, Sides()) for path, row in rows.items()} == snapshot(
        {
            "conv_0/kernel": [
                "24 of 24 elements differ, worst [0,0,0,3]: reference 0.0082, candidate 0.0205",
                "needs rtol 1.5e+00 or atol 1.23e-02; given rtol 1e-05, atol 0",
            ],
            "conv_0/bias": ["note: the candidate gives no gradient"],
            "a/kernel": [
                "1 of 6 elements differ, worst [0,1]: reference nan, candidate inf",
                "no tolerance would pass; given rtol 1e-05, atol 0",
            ],
        }
    )


def test_summary_line(several: Report) -> None:
    assert words.summary_line(several) == snapshot("5 configs: 2 passed, 1 failed, 1 error, 1 vacuous (nothing proven)")


def test_what_each_chunk_adds(passing: Report) -> None:
    run = passing.runs[0]
    found = Contribution(path="lstm/kernel", segments=(1, 2, 7), norms=(0.0, 0.25, 1.5))
    check = dataclasses.replace(run.checks[0], contributions=(found,))
    second, third = run.segments[1].name, run.segments[2].name
    assert words.contribution_lines(check, run.segments) == [
        f"lstm/kernel: {second} none, {third} 2.5e-01, segment 7 1.5e+00"
    ]


def test_training(training: Report, trained: Report) -> None:
    assert conclusions(training) == snapshot(
        [
            "vjp: first wrong in step 2 of 5. 1 of 2 trainable variables does NOT match: dense/kernel. 8 exact, 0 close, 0 dead, 0 absent, 4 mismatch."
        ]
    )
    assert conclusions(trained) == snapshot(
        [
            "vjp: all 2 of 2 trainable variables match the reference in all 5 steps bit for bit. 4 exact, 0 close, 0 dead, 0 absent."
        ]
    )
    (check,) = training.runs[0].checks
    assert words.conclusion(dataclasses.replace(check, expect="mismatch"), 2) == snapshot(
        "vjp: does not match, as expected (a control), first wrong in step 2 of 5: 1 of 2 trainable variables differ (worst: dense/kernel, max rel 1.5e+00)."
    )


def test_weights_left_equal_by_dead_gradients_are_no_proof(trained: Report) -> None:
    (check,) = trained.runs[0].checks
    dead = tuple(dataclasses.replace(t, status="dead") if t.quantity == "gradient" else t for t in check.tensors)
    assert words.proves_nothing(dataclasses.replace(check, tensors=dead))
    values = tuple(t for t in check.tensors if t.quantity == "value")  # all that a train_step gives
    assert not words.proves_nothing(dataclasses.replace(check, tensors=values))


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"code": "GC101", "segment": 0}, "GC101 at boundary 0 → 1"),
        ({"code": "GC108", "segment": 1}, "GC108 at segment 1"),
        ({"code": "GC105", "segment": 1, "layer": "skip"}, "GC105 at boundary 1 → 2, layer skip"),
        ({"code": "GC503", "segment": None}, "GC503"),
        ({"place": "chunk 0", "segment": 3}, "GC101 at chunk 0"),
        ({"evidence": "at a loss", "segment": 0}, "GC101 at boundary 0 → 1"),
        ({"code": "GC201", "segment": None, "confidence": "likely"}, "GC201 (likely)"),
        (
            {"code": "GC601", "segment": None, "layer": "mine", "confidence": "possible"},
            "GC601 at layer mine (possible)",
        ),
    ],
)
def test_where_a_diagnosis_is(changes: dict[str, Any], heading: str) -> None:
    assert words.diagnosis_heading(dataclasses.replace(DIAGNOSIS, **changes)) == heading


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"evidence": "seeded with ones", "fix": "pass it"}, "seeded with ones. Fix: pass it."),
        ({"evidence": "Is it?", "fix": "Pass it.\nThen: "}, "Is it? Fix: Pass it.\nThen:."),
        ({"evidence": "", "fix": ""}, "cotangent missing."),
        ({"evidence": "both: are wrong", "fix": ""}, "both: are wrong."),
    ],
)
def test_what_a_diagnosis_says(changes: dict[str, str], text: str) -> None:
    diagnosis = dataclasses.replace(DIAGNOSIS, **changes)
    assert words.diagnosis_text(diagnosis) == text
    assert words.diagnosis_sentence(diagnosis) == f"GC101: {text}"


def test_a_place_that_leads_the_evidence_is_said_once() -> None:
    diagnosis = dataclasses.replace(DIAGNOSIS, place="boundary 0 → 1", evidence="seeded with ones", fix="pass it")
    assert words.diagnosis_sentence(diagnosis) == "GC101 at boundary 0 → 1: seeded with ones. Fix: pass it."


def test_a_mismatch_without_figures(passing: Report) -> None:
    check = dataclasses.replace(
        passing.runs[0].checks[0], outcome="mismatch", as_expected=False, loss_abs_error=float("nan"), tensors=()
    )
    assert words.conclusion(check, 0) == "vjp: does NOT match."

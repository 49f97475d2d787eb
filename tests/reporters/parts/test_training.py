from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters.parts import training as words
from gradcheck.results.schedule import StageReport

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_a_tensor_of_a_step(training: Report, passing: Report) -> None:
    row, outside = training.runs[0].checks[0].tensors[0], passing.runs[0].checks[0].tensors[0]
    assert (words.step(row), words.label(row)) == ("2 gradient", "dense/kernel (gradient, step 2)")
    assert (words.step(outside), words.label(outside)) == ("-", "conv_0/kernel")
    loss = dataclasses.replace(row, quantity=None, path="loss")
    assert (words.step(loss), words.label(loss)) == ("2", "loss (step 2)")


def test_labels_tell_every_row_from_all_others(training: Report) -> None:
    rows = training.runs[0].checks[0].tensors
    assert len(set(map(words.label, rows))) == len(rows) > len({row.path for row in rows})


def test_first_wrong_step(training: Report, trained: Report) -> None:
    assert words.first_wrong(training.runs[0].checks[0]) == "first wrong in step 2 of 5"
    assert words.first_wrong(trained.runs[0].checks[0]) == ""


def test_stages_by_name(scheduled: Report) -> None:
    run = scheduled.runs[0]
    schedule = run.checks[0].schedule
    assert schedule is not None
    assert words.schedule_heading(schedule) == "1f1b, 30 micro-batches (F forward, B backward)"
    assert words.stage_line(schedule.stages[2], run.segments) == "stage 2 segment_2: F0 B0 F1 B1; at most 1 live"
    unknown = StageReport(segment=9, work=("F0",), peak_activations=1)
    assert words.stage_line(unknown, run.segments) == "stage 9: F0; at most 1 live"


@pytest.mark.parametrize(
    ("room", "work"),
    [
        (None, "F0 F1 F2 B0 F3 B1 B2 B3"),
        (48, "F0 F1 F2 B0 F3 B1 B2 B3"),
        (47, "F0 F1 F2 ... B1 B2 B3"),
        (45, "F0 F1 ... B2 B3"),
        (34, "F0 ... B3"),
        (10, "..."),
    ],
)
def test_long_work_loses_whole_items_from_its_middle(room: int | None, work: str) -> None:
    stage = StageReport(segment=0, work=("F0", "F1", "F2", "B0", "F3", "B1", "B2", "B3"), peak_activations=3)
    assert words.stage_line(stage, (), room) == f"stage 0: {work}; at most 3 live"

"""The order of work in a pipeline: complete, possible, and holding no more than it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.handoff.schedule import Work, order, schedule_report

SCHEDULES = ("gpipe", "1f1b")
pipelines = given(st.sampled_from(SCHEDULES), st.integers(1, 6), st.integers(1, 9))


@pipelines
def test_every_piece_of_work_is_done_once_and_after_what_it_needs(schedule: str, stages: int, count: int) -> None:
    work = order(schedule, stages, count)
    assert sorted(work) == sorted(
        Work(s, m, backward=back) for s in range(stages) for m in range(count) for back in (False, True)
    )
    at = {piece: i for i, piece in enumerate(work)}
    for stage, m, backward in work:
        here = at[Work(stage, m, backward)]
        if backward:
            assert at[Work(stages - 1, m, backward=False)] < here
            assert stage == stages - 1 or at[Work(stage + 1, m, backward=True)] < here
        else:
            assert stage == 0 or at[Work(stage - 1, m, backward=False)] < here


@pipelines
def test_forward_and_backward_passes_of_a_stage_are_in_the_order_of_the_batch(
    schedule: str, stages: int, count: int
) -> None:
    work = order(schedule, stages, count)
    forward = [(m, s) for s, m, backward in work if not backward]
    assert forward == sorted(forward)  # micro-batch by micro-batch, so that shared state moves as in the whole model
    for stage in range(stages):
        back = [m for s, m, backward in work if backward and s == stage]
        assert back == sorted(back)
    backward = [(m, -s) for s, m, back in work if back]
    assert schedule != "gpipe" or backward == sorted(backward)


@pipelines
def test_the_peak_is_every_microbatch_for_gpipe_and_the_distance_to_the_end_for_1f1b(
    schedule: str, stages: int, count: int
) -> None:
    report = schedule_report(schedule, order(schedule, stages, count), stages)
    peaks = [stage.peak_activations for stage in report.stages]
    assert (report.name, report.microbatches) == (schedule, count)
    assert [stage.segment for stage in report.stages] == list(range(stages))
    expected = [count if schedule == "gpipe" else min(count, stages - s) for s in range(stages)]
    assert peaks == expected


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [("gpipe", "F0 F1 F2 B0 B1 B2", "F0 F1 F2 B0 B1 B2"), ("1f1b", "F0 F1 B0 F2 B1 B2", "F0 B0 F1 B1 F2 B2")],
)
def test_the_order_of_two_stages(schedule: str, first: str, last: str) -> None:
    report = schedule_report(schedule, order(schedule, 2, 3), 2)
    assert [" ".join(stage.work) for stage in report.stages] == [first, last]

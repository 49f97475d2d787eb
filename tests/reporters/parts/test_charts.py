from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.charts import STRIP_HEIGHT, chain, strip

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_bars_are_as_high_as_the_error_on_a_log_scale(skip: Report) -> None:
    drawn = strip(skip.runs[0].checks[0])
    assert (drawn.low, drawn.high) == (-8, 1)
    exact, close, _, wrong, _ = drawn.bars
    assert exact.height == 3
    assert close.height == round(STRIP_HEIGHT * (math.log10(3e-08) + 8) / 9, 2)
    assert wrong.height == round(STRIP_HEIGHT * (math.log10(1.5) + 8) / 9, 2)
    assert wrong.tone == "bad"
    assert [bar.x for bar in drawn.bars] == [0, 10, 20, 30, 40]


def test_the_tolerance_line_is_at_rtol(skip: Report) -> None:
    first = strip(skip.runs[0].checks[0]).tolerance.split()[0]
    x, y = map(float, first.split(","))
    assert x == 0
    assert y == round(STRIP_HEIGHT * (1 - (-5 + 8) / 9), 2)


def test_failures_without_a_figure_are_full_bars(nonfinite: Report) -> None:
    bars = strip(nonfinite.runs[0].checks[0]).bars
    assert [(bar.height, bar.tone) for bar in bars[:2]] == [(STRIP_HEIGHT, "bad"), (3, "warn")]


def test_no_figures_at_all(passing: Report) -> None:
    check = passing.runs[0].checks[0]
    rows = tuple(dataclasses.replace(t, max_rel_error=0.0, rtol=0.0) for t in check.tensors)
    assert strip(dataclasses.replace(check, tensors=rows)).low == -8


def test_arrows_follow_the_boundaries(skip: Report) -> None:
    drawn = chain(skip.runs[0], skip.runs[0].checks[0])
    assert [(arrow.status, arrow.tone) for arrow in drawn.arrows] == [
        ("exact", "good"),
        ("close", "good"),
        ("mismatch", "bad"),
    ]
    assert "H" in drawn.arrows[0].path
    assert "C" in drawn.arrows[2].path  # the skip is an arc
    assert drawn.arrows[2].title == "skip: mismatch, max rel 1.5e+00"


def test_a_shared_weight_counts_in_each_of_its_segments(skip: Report) -> None:
    assert [box.status for box in chain(skip.runs[0], skip.runs[0].checks[0]).boxes] == ["exact", "close", "exact"]


def test_segments_whose_names_do_not_meet_are_still_a_chain(passing: Report) -> None:
    run = passing.runs[0]
    parts = tuple(dataclasses.replace(part, inputs=("?",)) for part in run.segments)
    arrows = chain(dataclasses.replace(run, segments=parts), run.checks[0]).arrows
    assert [arrow.status for arrow in arrows] == ["exact", "exact"]


def test_long_names_fit_their_box(large: Report) -> None:
    run = large.runs[0]
    parts = tuple(dataclasses.replace(part, name="a_very_long_name_of_a_segment") for part in run.segments)
    boxes = chain(dataclasses.replace(run, segments=parts), run.checks[0]).boxes
    assert {len(box.label) for box in boxes} == {18}
    assert boxes[3].title.startswith("a_very_long_name_of_a_segment: conv3_block0")

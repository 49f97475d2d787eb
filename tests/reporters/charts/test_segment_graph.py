from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters.charts.segment_graph import MOST, first_wrong, segment_graph
from gradcheck.results.report import Diagnosis, SegmentReport

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport, Report


def test_arrows_follow_the_boundaries(skip: Report) -> None:
    drawn = segment_graph(skip.runs[0], skip.runs[0].checks[0])
    assert [(arrow.words, arrow.tone) for arrow in drawn.arrows] == [
        ("a, exact", "good"),
        ("", "bad"),
        ("b, close", "good"),
    ]
    straight, beside, _ = drawn.arrows
    assert "H" not in straight.path
    assert "Q" in beside.path  # the skip connection passes the box between
    assert beside.title == "skip: mismatch, max rel 1.5e+00"
    assert beside.mark == "first wrong"


def test_a_shared_weight_counts_in_each_of_its_segments(skip: Report) -> None:
    boxes = segment_graph(skip.runs[0], skip.runs[0].checks[0]).boxes
    assert [box.status for box in boxes] == ["exact", "close", "exact"]


def test_segments_whose_names_do_not_meet_are_still_a_chain(passing: Report) -> None:
    run = passing.runs[0]
    parts = tuple(dataclasses.replace(part, inputs=("?",)) for part in run.segments)
    arrows = segment_graph(dataclasses.replace(run, segments=parts), run.checks[0]).arrows
    assert [arrow.words for arrow in arrows] == ["exact", "exact"]


def test_the_first_wrong_tensor_is_marked_at_its_segment(failing: Report) -> None:
    run = failing.runs[0]
    check = dataclasses.replace(run.checks[1], diagnoses=())
    drawn = segment_graph(run, check)
    assert [box.mark for box in drawn.boxes] == ["first wrong: kernel", "", ""]
    wrong = first_wrong(check)
    assert wrong is not None
    assert wrong.path == "conv_0/kernel"


def _diagnosed(check: CheckReport, place: str | None, segment: int | None) -> CheckReport:
    fields = {"code": "GC105", "title": "", "layer": None, "confidence": "exact", "evidence": "", "fix": ""}
    found = Diagnosis(**fields, place=place, segment=segment)  # type: ignore[arg-type] # all of them are text
    return dataclasses.replace(check, diagnoses=(found,), first_divergence=None)


@pytest.mark.parametrize(
    ("place", "segment", "boxes", "arrows"),
    [
        ("boundary 0 → 2, tensor skip", 0, ["", "", ""], ["", "GC105", ""]),
        ("boundary 0, 1 → 2", 0, ["", "", ""], ["", "GC105", "GC105"]),
        ("boundary 5 → 6", 1, ["", "GC105", ""], ["", "", ""]),  # there is no such boundary
        (None, 2, ["", "", "GC105"], ["", "", ""]),
        (None, None, ["", "", ""], ["", "", ""]),
    ],
)
def test_a_diagnosis_is_marked_at_its_place(
    skip: Report, place: str | None, segment: int | None, boxes: list[str], arrows: list[str]
) -> None:
    run = skip.runs[0]
    drawn = segment_graph(run, _diagnosed(run.checks[0], place, segment))
    assert [box.mark for box in drawn.boxes] == boxes
    assert [arrow.mark for arrow in drawn.arrows] == arrows


@pytest.mark.parametrize(
    ("codes", "mark"),
    [
        (("GC303", "GC605"), "GC303, GC605, and 1 more"),
        (("GC605", "GC303", "GC605"), "GC605, GC303, and 1 more"),
        (("GC605",), "GC605, first wrong: kernel"),
        (("GC101", "GC102", "GC103", "GC104", "GC105"), "GC101, GC102, and 4 more"),
    ],
)
def test_codes_stand_in_the_order_of_the_report_and_are_not_cut(
    failing: Report, codes: tuple[str, ...], mark: str
) -> None:
    run = failing.runs[0]
    found = [dataclasses.replace(d, code=code, place="here") for d in run.checks[1].diagnoses[:1] for code in codes]
    drawn = segment_graph(run, dataclasses.replace(run.checks[1], diagnoses=tuple(found)))
    assert drawn.boxes[0].mark == mark


def test_many_segments_are_few_boxes_and_each_has_a_square(large: Report) -> None:
    run = large.runs[0]
    drawn = segment_graph(run, run.checks[0])
    assert len(drawn.boxes) <= MOST
    assert [(box.label, box.tone) for box in drawn.boxes] == [
        ("0: conv0_bloc...ion, 5 layers", "bad"),
        ("1 to 6", "good"),
        ("7: conv7_bloc...ion, 5 layers", "bad"),
        ("8 to 58", "good"),
        ("59: conv59_bl...ion, 5 layers", "good"),
    ]
    assert [box.mark for box in drawn.boxes] == ["", "", "first wrong: conv7_...n/beta", "", ""]
    assert [n for n, (tone, _) in enumerate(drawn.cells) if tone == "bad"] == [0, 7]
    assert len(drawn.cells) == 60


def test_words_fit_their_boxes(large: Report) -> None:
    run = large.runs[0]
    parts = tuple(dataclasses.replace(part, name="a_very_long_name_of_a_segment_of_mine") for part in run.segments)
    boxes = segment_graph(dataclasses.replace(run, segments=parts), run.checks[0]).boxes
    assert max(len(box.label) for box in boxes) <= 29
    assert max(len(box.detail) for box in boxes) <= 34
    assert boxes[0].title.startswith("a_very_long_name_of_a_segment_of_mine: conv0_block0")


def test_skips_that_overlap_have_lanes_of_their_own(passing: Report) -> None:
    names = [f"s{n}" for n in range(5)]
    parts = tuple(
        SegmentReport(index=n, name=name, layers=(name,), parameters=1, inputs=tuple(names[:n]), outputs=(name,))
        for n, name in enumerate(names)
    )
    run = dataclasses.replace(passing.runs[0], segments=parts)
    beside = [arrow for arrow in segment_graph(run, run.checks[0]).arrows if not arrow.words and "Q" in arrow.path]
    assert len(beside) == 6
    assert len({(arrow.x, arrow.y) for arrow in beside}) == 6
    drawn = segment_graph(run, run.checks[0])
    assert max(arrow.x for arrow in drawn.arrows) < drawn.width

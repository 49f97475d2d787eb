from __future__ import annotations

import math
import re

from gradcheck.reporters.charts.element_errors import BOTTOM, LEFT, RIGHT, TOP, histogram, scatter
from gradcheck.results.tensor import Spread


def spread(**changes: tuple[float, ...] | int) -> Spread:
    """Ten elements: four equal, five in two bins, one that is not finite."""
    fields = {
        "edges": (0.25, 0.5, 1.0), "counts": (4, 1), "equal": 4, "nonfinite": 1,
        "reference": (0.0, 1.0, 2.0, math.nan), "candidate": (0.0, 2.0, 4.0, 1.0),
    }  # fmt: skip
    return Spread(**fields | changes)  # type: ignore[arg-type]


def test_bars_count_elements() -> None:
    drawn = histogram(spread())
    room = BOTTOM - TOP
    assert [(bin_.height, bin_.tone) for bin_ in drawn.bins] == [
        (room, "good"), (room, "bad"), (room / 4, "bad"), (room / 4, "bad"),
    ]  # fmt: skip
    assert drawn.bins[1].title == "|error| from 2.5e-01 to 5e-01: 4 elements"
    assert [words for _, words in drawn.ticks] == ["2.5e-01", "1e+00"]
    assert [words for _, words in drawn.asides] == ["equal", "NaN or inf"]
    assert drawn.label == "Histogram of the errors: 6 elements differ, 4 do not"


def test_a_tensor_that_is_nowhere_finite_has_one_bar() -> None:
    drawn = histogram(spread(edges=(), counts=(), equal=0, nonfinite=3))
    assert [bin_.height for bin_ in drawn.bins] == [BOTTOM - TOP]
    assert drawn.ticks == ()


def test_points_are_where_their_values_are() -> None:
    drawn = scatter(spread())
    assert drawn is not None
    middle, quarter = (LEFT + RIGHT) / 2, LEFT + (RIGHT - LEFT) / 4
    points = [(float(x), float(y)) for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", drawn.points)]
    assert points == [(LEFT, BOTTOM), (round(quarter, 1), (TOP + BOTTOM) / 2), (middle, TOP)]
    assert (drawn.low, drawn.high) == ("0", "4e+00")


def test_no_scatter_without_finite_values() -> None:
    assert scatter(spread(reference=(math.nan,), candidate=(1.0,))) is None


def test_equal_values_and_the_largest_numbers_stay_inside() -> None:
    for values in ((3.0, 3.0), (-1.7e308, 1.7e308), (0.0, 0.0)):
        drawn = scatter(spread(reference=values, candidate=values))
        assert drawn is not None
        for x, y in re.findall(r"M([\d.]+) ([\d.]+)h0", drawn.points):
            assert LEFT <= float(x) <= RIGHT
            assert TOP <= float(y) <= BOTTOM

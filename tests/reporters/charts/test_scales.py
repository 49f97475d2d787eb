from __future__ import annotations

import math

from gradcheck.reporters.charts.scales import log_scale


def test_the_scale_holds_every_value() -> None:
    scale = log_scale([3e-8, 0.0, math.nan, math.inf, 1.5])
    assert scale is not None
    assert scale.ends == ("1e-08", "1e+01")
    assert [scale.at(value) for value in (1e-8, 10.0, 0.0, math.inf, 1e-99, math.nan)] == [0, 1, 0, 1, 0, 0]
    assert math.isclose(scale.at(1e-3), 5 / 9)


def test_no_scale_without_a_value_to_draw() -> None:
    assert log_scale([0.0, math.nan, math.inf]) is None


def test_one_value_alone_has_a_scale() -> None:
    scale = log_scale([1.0])
    assert scale is not None
    assert (scale.low, scale.high) == (0, 1)

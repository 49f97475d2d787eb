from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gradcheck.reporters.charts.step_lines import BOTTOM, LEFT, RIGHT, TOP, step_lines
from gradcheck.results.by_step import StepReport

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def steps(*weights: float) -> tuple[StepReport, ...]:
    return tuple(StepReport(step=n, compared=3, failing=0, weights=w, loss=0.0) for n, w in enumerate(weights, 1))


def test_lines_rise_with_the_error(training: Report) -> None:
    check = dataclasses.replace(training.runs[0].checks[0], by_step=steps(0.0, 1e-4, 1e-2))
    drawn = step_lines(check)
    assert drawn is not None
    (line,) = drawn.lines  # a quantity that never differs has none
    middle = (LEFT + RIGHT) / 2
    assert line.path == f"M{float(LEFT)} {float(BOTTOM)}L{middle} {float(BOTTOM)}L{float(RIGHT)} {float(TOP)}"
    assert (line.name, line.largest) == ("weights", "1e-02")
    assert drawn.first_failing == middle
    assert drawn.scale.ends == ("1e-04", "1e-02")


def test_no_lines_where_nothing_differs_or_there_is_one_step(training: Report) -> None:
    check = training.runs[0].checks[0]
    assert step_lines(check) is None
    assert step_lines(dataclasses.replace(check, by_step=steps(0.0, 0.0))) is None
    assert step_lines(dataclasses.replace(check, by_step=steps(0.5))) is None


def test_few_of_many_steps_are_labelled(training: Report) -> None:
    drawn = step_lines(dataclasses.replace(training.runs[0].checks[0], by_step=steps(*[0.1] * 1000)))
    assert drawn is not None
    assert 4 <= len(drawn.ticks) <= 8

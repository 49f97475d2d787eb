"""`vjp`: one tape per segment, seeded with the cotangents from later segments. Never a Jacobian."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.handoff.schedule import order, schedule_report
from gradcheck.methods.along_time.time_contributions import recorded_split

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem


def vjp(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the split model's gradients, by the hand-off in `gradcheck.handoff.split`."""
    found = recorded_split(problem)
    if not problem.slices:
        return found
    stages = len(problem.segments)
    work = order(problem.schedule, stages, len(problem.slices))
    return replace(found, schedule=schedule_report(problem.schedule, work, stages))

"""`vjp`: one tape per segment, the cotangent of each boundary handed to the earlier segment. Never a Jacobian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.gradients.time_contributions import recorded_split

if TYPE_CHECKING:
    from gradcheck.config.methods import MethodOptions
    from gradcheck.gradients.interface import Gradients
    from gradcheck.models.problem import Problem


def vjp(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """The split model's gradients, by the hand-off in `gradcheck.gradients.split`."""
    return recorded_split(problem)

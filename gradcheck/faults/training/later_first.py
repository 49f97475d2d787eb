"""GC305 within a step: a cotangent that is computed with the new weights of the later segments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import EVERYWHERE, TrainingFault, boundary
from gradcheck.faults.training.apart import Apart, Held, can_count_apart, first_users

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.faults.interface import Place
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update


@dataclass(frozen=True, kw_only=True)
class LaterFirst(TrainingFault):
    """Later segments are updated before the cotangent for the earlier ones is computed.

    Attributes:
        phases: the groups of weights (as in `by_segment`) that are updated together, in order.
        place: the boundary.
        own: whether each segment has an optimizer of its own.
    """

    code = "GC305"
    phases: tuple[tuple[int, ...], ...]
    place: Place
    own: bool

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        how = "each with an optimizer of its own" if self.own else "with one optimizer"
        return f"the cotangent at {self.place.text} was computed with weights that were already updated, {how}"

    def calls(self, trainee: Trainee) -> int:  # noqa: ARG002 - as the others
        """Return how often optimizers are called in a step."""
        return sum(map(len, self.phases)) if self.own else len(self.phases)

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Whether there is any step."""
        return steps > 0

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that updates the later segments first."""
        segments, users = trainee.by_segment(), first_users(trainee)
        apart = Apart(trainee, own=self.own)

        def update(problem: Problem, _: Any) -> Gradients:
            held, first, updated = Held(problem), None, 0
            for phase in self.phases:
                if first is not None:
                    held.rewind(updated)
                gradients = compute(problem)
                first = first or gradients
                calls = [segments[i] for i in phase] if self.own else [[w for i in phase for w in segments[i]]]
                for group in calls:
                    apart.apply(problem, gradients, group)
                updated = users[min(phase)]
            apart.ended()
            return first or compute(problem)

        return update


def later_first(trainee: Trainee) -> Iterator[TrainingFault]:
    """Yield the mistake at each boundary between segments with weights, then at all, from the last to the first."""
    users = first_users(trainee)
    count = len(users)
    chain = tuple((i,) for i in reversed(range(count)))
    for own in [True, False] if can_count_apart(trainee) else [False]:
        for cut in reversed(range(1, count)):
            phases = tuple(range(cut, count))[::-1], tuple(range(cut))[::-1]
            yield LaterFirst(phases=phases, place=boundary(trainee.problem, users[cut - 1]), own=own)
        if count > 2:  # noqa: PLR2004 - with two the chain has one boundary
            yield LaterFirst(phases=chain, place=EVERYWHERE, own=own)

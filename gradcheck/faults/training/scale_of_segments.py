"""GC503 in some segments: the loss scale is undone, or multiplied by, in one segment alone, or in all but one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gradcheck.faults.interface import Place, TrainingFault
from gradcheck.handoff.tensors import divided, scaled
from gradcheck.problem.optimizer import innermost, loss_scale

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update

Mistake: TypeAlias = Literal["undone twice", "still scaled", "past it"]
_SAYS: dict[Mistake, str] = {
    "undone twice": "the gradients of {} were divided by the loss scale before the optimizer divided them too",
    "still scaled": "the gradients of {} were multiplied by the loss scale once more than the optimizer divides",
    "past it": "the gradients of {}, still scaled, were given to the inner optimizer, which does not divide them",
}


@dataclass(frozen=True, kw_only=True)
class ScaleOfSegments(TrainingFault):
    """The loss scale is wrong for the groups of weights (as in `by_segment`) in `groups`, at `place`."""

    code = "GC503"
    groups: tuple[int, ...]
    place: Place
    mistake: Mistake
    last: bool = False  # whether they are updated after the others, where that are two calls

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        return _SAYS[self.mistake].format(self.place.text)

    def applies(self, trainee: Trainee, steps: int) -> bool:  # noqa: ARG002 - as the others
        """Whether there is any step."""
        return steps > 0

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that applies these gradients with another scale."""
        segments = trainee.by_segment()
        inside = sorted(weight for group in self.groups for weight in segments[group])
        if self.mistake == "past it":
            return self._past(trainee, compute, inside)

        def update(problem: Problem, given: Any) -> Gradients:
            change = divided if self.mistake == "undone twice" else scaled

            def changed(gradients: Sequence[Any]) -> list[Any]:
                return [change(g, problem.loss_scale) if i in inside else g for i, g in enumerate(gradients)]

            return trainee.applying(compute, change=changed)(problem, given)

        return update

    def _past(self, trainee: Trainee, compute: Compute, inside: Sequence[int]) -> Update:
        others = [i for i in range(len(trainee.variables)) if i not in inside]
        inner = replace(trainee, optimizer=innermost(trainee.optimizer))

        def update(problem: Problem, given: Any) -> Gradients:
            gradients = compute(problem)
            calls = [(inner, inside), (trainee, others)]
            for one, group in calls[::-1] if self.last else calls:
                one.applying(lambda _: gradients, groups=[group])(problem, given)
            return gradients

        return update


def scale_of_segments(trainee: Trainee) -> Iterator[TrainingFault]:
    """Yield the mistake in each segment alone, and in all but one; nothing without a loss scale."""
    count = len(trainee.by_segment())
    if loss_scale(trainee.optimizer) is None or count < 2:  # noqa: PLR2004 - all of them are another mistake
        return
    indices = sorted({min(weight.segments, default=0) for weight in trainee.problem.weights})
    names = [trainee.problem.segments[i].plan.name for i in indices]
    alone = [((i,), Place(text=f"{names[i]} alone", segment=indices[i])) for i in reversed(range(count))]
    but_one = [
        (tuple(j for j in range(count) if j != i), Place(text=f"all segments but {names[i]}")) for i in range(count)
    ]
    wraps = innermost(trainee.optimizer) is not trainee.optimizer
    for groups, place in alone if count == 2 else [*but_one, *alone]:  # noqa: PLR2004 - one is all but the other
        yield ScaleOfSegments(groups=groups, place=place, mistake="undone twice")
        yield ScaleOfSegments(groups=groups, place=place, mistake="still scaled")
        for last in [False, True] if wraps else []:
            yield ScaleOfSegments(groups=groups, place=place, mistake="past it", last=last)

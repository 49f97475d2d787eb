"""GC310: the optimizer is applied after every micro-batch, for all segments or for one of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gradcheck.batch.slices import make_slices
from gradcheck.faults.accumulation.slicing import new_sizes
from gradcheck.faults.interface import Place, TrainingFault
from gradcheck.faults.training.accumulating import in_sum
from gradcheck.faults.training.apart import Held, SegmentUpdates, can_count_apart, first_users
from gradcheck.handoff.tensors import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update


@dataclass(frozen=True, kw_only=True)
class SteppedPerMicroBatch(TrainingFault):
    """An update after every micro-batch.

    Attributes:
        count: the number of micro-batches; None for the problem's own.
        shares: whether each micro-batch's gradients are weighed by its share of the batch, as for accumulation.
        alone: the group of weights (as in `by_segment`) that is updated so, while the others accumulate and are updated
            once; None for all.
        fresh: whether the cotangents for the others are computed with the new weights of that group.
        own: whether each segment has an optimizer of its own.
        place: the segment that is updated alone.
    """

    code = "GC310"
    nowhere = "no micro-batches"
    count: int | None = None
    shares: bool
    alone: int | None = None
    fresh: bool = False
    own: bool = False
    place: Place | None = None

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        whose = f"{self.place.text} alone was" if self.place else "all segments were"
        what = "its share of the gradient" if self.shares else "its own mean gradient"
        over = f" of {self.count}" if self.count else ""
        others = ", and the other segments once in a step" if self.place else ""
        fresh = ", by cotangents that were computed with its new weights" if self.fresh else ""
        return f"{whose} updated after every micro-batch{over}, with {what}{others}{fresh}"

    def calls(self, trainee: Trainee) -> int:
        """Return how often optimizers are called in a step."""
        many, groups = self.count or len(trainee.problem.slices), len(trainee.by_segment())
        if self.alone is not None:
            return many + (groups - 1 if self.own else 1)
        return many * (groups if self.own else 1)

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether there are micro-batches, of which each has a share of the loss if `shares`."""
        means = not self.shares or not _sums(trainee.problem)
        return steps > 0 and means and (self.count is not None or len(trainee.problem.slices) > 1)

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that updates after every micro-batch."""
        parts, groups, is_sum = self._slices(trainee.problem), trainee.by_segment(), _sums(trainee.problem)
        every = range(len(trainee.variables))
        stepping = (groups if self.own else [every]) if self.alone is None else [groups[self.alone]]
        waiting = [group for i, group in enumerate(groups) if i != self.alone] if self.alone is not None else []
        if not self.own and waiting:
            waiting = [[weight for group in waiting for weight in group]]
        before = first_users(trainee)[self.alone] if self.alone is not None else 0
        apart = SegmentUpdates(trainee, own=self.own)

        def update(problem: Problem, _: Any) -> Gradients:
            kept: list[Gradients] = []
            for part in parts:
                here = replace(problem, batch=part.of_batch(problem.batch), slices=())
                held, share = Held(problem), 1.0 if is_sum else part.share
                gradients = compute(here)
                kept.append(_weighed(gradients, share))
                for group in stepping:
                    apart.apply(here, kept[-1] if self.shares else gradients, group)
                if self.fresh:
                    held.rewind(before)
                    again = _weighed(compute(here), share)
                    kept[-1] = _joined(kept[-1], again, problem, earlier=before)
            together = in_sum(problem, kept)
            for group in waiting:
                apart.apply(problem, together, group)
            apart.ended()
            return together

        return update

    def _slices(self, problem: Problem) -> Sequence[Slice]:
        if self.count is None:
            return problem.slices
        with problem.state.preserved():
            return make_slices(self.count, problem.model, problem.batch, problem.loss, training=problem.training)


def _sums(problem: Problem) -> bool:
    """Whether the loss is a sum over the examples, in which every micro-batch has the weight 1."""
    return all(term is None or term.reduction == "sum" for term in problem.loss.terms)


def _weighed(gradients: Gradients, share: float) -> Gradients:
    return replace(gradients, tensors={key: scaled(tensor, share) for key, tensor in gradients.tensors.items()})


def _joined(first: Gradients, again: Gradients, problem: Problem, *, earlier: int) -> Gradients:
    """Return `first`, with the gradients of `again` for weights of segments before the one with index `earlier`."""
    new = {w.key: again.tensors[w.key] for w in problem.weights if min(w.segments, default=0) < earlier}
    return replace(first, tensors={**first.tensors, **new})


def per_micro_batch(trainee: Trainee, counts: Sequence[int]) -> Iterator[TrainingFault]:
    """Yield the mistake over the problem's own micro-batches, and over each number in `counts`."""
    for count in (None, *(count for count in counts if new_sizes(trainee.problem, count))):
        yield from _over(trainee, count)


def _over(trainee: Trainee, count: int | None) -> Iterator[TrainingFault]:
    segments, users = trainee.problem.segments, first_users(trainee)
    several = len(users) > 1
    for own in [False, True] if several and can_count_apart(trainee) else [False]:
        for shares in [False, True]:
            here = SteppedPerMicroBatch(count=count, shares=shares, own=own)
            if own or count is not None:  # else one of `TRAINING_FAULTS`
                yield here
            for group, index in reversed([*enumerate(users)] if several else []):
                for fresh in [False, True] if group else [False]:
                    yield replace(
                        here, alone=group, fresh=fresh, place=Place(text=segments[index].plan.name, segment=index)
                    )

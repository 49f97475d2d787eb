"""GC501 and GC502: losses that segments add (weight penalties, activity losses) are left out or counted repeatedly."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.faults.accumulation.slicing import new_sizes
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.places import at_segments
from gradcheck.handoff.split import HandOff
from gradcheck.handoff.tensors import scaled, summed
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem

#: The largest count up to which each segment is tried with every number; beyond, with those that loops make.
_FEW = 8


class AddedLossDropped(Fault):
    """A gradient of the data loss alone, or weight penalties that are computed outside the tape."""

    code = "GC501"
    nowhere = "no layer adds to the loss"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each segment that adds a loss, and all of them."""
        return _counted(problem, _adding(problem), self.code, 0, "left out")


class AddedLossRepeated(Fault):
    """The whole model's added losses, counted in every segment or for every micro-batch."""

    code = "GC502"
    nowhere = "no layer adds to the loss"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each segment that adds a loss, and all: twice, and up to once for each segment or micro-batch."""
        most, likely = _most(problem), {2, 3, len(problem.segments), len(problem.slices)}
        adding = _adding(problem)
        for times in range(2, most + 1):
            for injection in _counted(problem, adding, self.code, times, f"counted {times} times"):
                if injection.place.everywhere or most <= _FEW or times in likely:
                    yield injection

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield all added losses, counted once for each of `count` micro-batches."""
        where = _adding(problem).anything
        if where and count > _most(problem) and new_sizes(problem, count):
            yield Injection(
                code=self.code,
                place=Place(text="every segment", everywhere=True),
                effect=f"what every segment adds to the loss was counted {count} times, as for {count} micro-batches",
                steps=partial(Counted, count, where),
            )


def _most(problem: Problem) -> int:
    return max(len(problem.segments), len(problem.slices))


class Adding(NamedTuple):
    """The segments that add losses, from the last to the first.

    `penalised` have weight penalties. `calling` have layers that add a loss when they are called: an activity
    regularizer, or `add_loss`, which is known only once a forward pass has run.
    """

    penalised: list[int]
    calling: list[int]

    @property
    def anything(self) -> list[int]:
        """The segments that add either kind, from the last to the first."""
        return sorted({*self.penalised, *self.calling}, reverse=True)


def _adding(problem: Problem) -> Adding:
    backward = problem.segments[::-1]
    return Adding(
        penalised=[segment.plan.index for segment in backward if segment.penalties],
        calling=[segment.plan.index for segment in backward if segment.added_losses or _penalises_activity(segment)],
    )


def adds_to_loss(problem: Problem) -> bool:
    """Whether some layer adds a loss."""
    return bool(_adding(problem).anything)


def added_losses_with(problem: Problem, code: str, factor: float, outcome: str) -> Iterator[Injection]:
    """Yield all added losses of each segment, each kind, and those of every segment, multiplied by `factor`."""
    return _counted(problem, _adding(problem), code, factor, outcome)


def _counted(problem: Problem, adding: Adding, code: str, times: float, outcome: str) -> Iterator[Injection]:
    """Yield all added losses of each segment; each kind, for segments with both; then each kind everywhere."""
    effect = f"what {{}} adds to the loss was {outcome}"
    yield from at_segments(problem, code, partial(Counted, times), effect, adding.anything)
    for words, penalties in (
        ("the weight penalties of {} were", True),
        ("what the layers of {} add in calls was", False),
    ):
        where, other = (adding.penalised, adding.calling) if penalties else (adding.calling, adding.penalised)
        change = partial(KindCounted, times, penalties=penalties)
        for injection in at_segments(problem, code, change, f"{words} {outcome}", where if other else ()):
            if injection.place.everywhere or injection.place.segment in other:
                yield injection


def _penalises_activity(segment: Segment) -> bool:
    layers = all_layers(segment.used_layers)
    return any(getattr(layer, "activity_regularizer", None) is not None for layer in layers)


class Counted(HandOff):
    """The hand-off in which the added losses of some segments count several times, or not at all."""

    def __init__(self, times: float, at: Collection[int]) -> None:
        """Count the added losses of the segments with the indices `at` so many times."""
        self._times, self._at = times, at

    def share_of_added_loss(self, segment: Segment, share: float) -> float:
        """Return the share, multiplied by the count."""
        return share * self._times if segment.plan.index in self._at else share


class KindCounted(HandOff):
    """The hand-off in which one kind of added loss counts several times, or not at all, in some segments."""

    changes_forward = True

    def __init__(self, times: float, at: Collection[int], *, penalties: bool) -> None:
        """Count weight penalties if `penalties`, otherwise the losses that layers add in calls."""
        self._times, self._at, self._penalties = times, at, penalties

    def added(self, segment: Segment) -> Any:
        """Return the sum of both kinds of added losses, one of them multiplied."""
        if segment.plan.index not in self._at:
            return super().added(segment)
        kinds = summed(segment.penalties), summed(segment.added_losses)
        weights = (self._times, 1) if self._penalties else (1, self._times)
        parts = [scaled(kind, weight) for kind, weight in zip(kinds, weights, strict=True) if kind is not None]
        return tf.add_n(parts) if parts else None

"""Two faults in one split."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Injection
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Found
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.handoff.split import LossGradients
    from gradcheck.problem.problem import TensorKey

#: The steps of a hand-off that change one value, so that two changes can follow each other.
CHANGES = frozenset(
    {"sliced", "loss_cotangents", "cotangent", "share_of_added_loss", "input_cotangent", "contribution"}
)


def both(first: Injection, second: Injection) -> Injection | None:
    """Return two faults as one, `first` before `second` in each step; None if they cannot be in one split."""
    if first.slices is not None and second.slices is not None and first.slices != second.slices:
        return None
    steps = [injection.steps for injection in (first, second) if injection.steps]
    if len(steps) > 1:
        steps.sort(key=lambda make: make().changed <= CHANGES)  # the one that does more than that comes first
        if not steps[1]().changed <= CHANGES:
            return None
        steps = [partial(_followed, *steps)]
    return Injection(
        code=f"{first.code} and {second.code}",
        place=first.place,
        effect=f"{first.effect}; {second.effect}, at {second.place.text}",
        steps=steps[0] if steps else None,
        finish=_after(first.finish, second.finish),
        slices=second.slices if first.slices is None else first.slices,
    )


def _after(
    first: Callable[[Found], Found] | None, second: Callable[[Found], Found] | None
) -> Callable[[Found], Found] | None:
    if first is None or second is None:
        return first or second

    def finish(found: Found) -> Found:
        changed = {**found, **first(found)}
        return {**changed, **second(changed)}

    return finish


def _followed(first: Callable[[], HandOff], second: Callable[[], HandOff]) -> HandOff:
    """Return the hand-off of `first` in which the changes of `second` follow its own."""
    steps = first()
    steps.__class__ = type("Both", (_Followed, type(steps)), {})
    vars(steps)["followed_by"] = second()
    return steps


class _Followed(HandOff):
    """A hand-off whose changes are followed by those of another: a base that comes before its own class."""

    followed_by: HandOff

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        return self.followed_by.sliced(super().sliced(parts))

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        return self.followed_by.loss_cotangents(super().loss_cotangents(at_loss))

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        return self.followed_by.cotangent(segment, ref, output, super().cotangent(segment, ref, output, cotangent))

    def share_of_added_loss(self, segment: Segment, share: float) -> float:
        return self.followed_by.share_of_added_loss(segment, super().share_of_added_loss(segment, share))

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        return self.followed_by.input_cotangent(segment, ref, super().input_cotangent(segment, ref, gradient))

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        return self.followed_by.contribution(segment, key, super().contribution(segment, key, gradient))

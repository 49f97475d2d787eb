"""GC403: a trainable variable gets None."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.places import at_weight, used_weights
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Found
    from gradcheck.problem.problem import Problem, TensorKey, Weight


class NoGradient:
    """A variable that no tape watches, or whose gradient is never requested."""

    code = "GC403"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each weight, the weights of each layer, each segment's part in its weights, and all weights."""
        weights, known = used_weights(problem), set()
        for place, members in _of_layers(weights):
            keys = frozenset(weight.key for weight in members)
            if keys not in known:
                known.add(keys)
                finish = partial(_nothing, keys)
                yield Injection(code=self.code, place=place, effect=_effect(place), finish=finish)
        for segment in reversed(problem.segments):
            index = segment.plan.index
            members = [weight for weight in weights if index in weight.segments]
            keys = frozenset(weight.key for weight in members)
            # A shared weight keeps the contributions of other segments: that is not None for the weight.
            if keys and (keys not in known or any(len(weight.segments) > 1 for weight in members)):
                place = Place(text=f"every weight of {segment.plan.name}", segment=index)
                steps = partial(NotAsked, index)
                yield Injection(code=self.code, place=place, effect=_effect(place), steps=steps)
        every = frozenset(weight.key for weight in weights)
        if every not in known:
            place, finish = Place(text="every weight", everywhere=True), partial(_nothing, every)
            yield Injection(code=self.code, place=place, effect=_effect(place), finish=finish)


def _effect(place: Place) -> str:
    return f"{place.text} got no gradient"


def _nothing(keys: Collection[TensorKey], _: Found) -> Found:
    return dict.fromkeys(keys)


def _of_layers(weights: Sequence[Weight]) -> Iterator[tuple[Place, list[Weight]]]:
    """Yield each weight, then the weights of each layer, with their places."""
    yield from ((at_weight(weight), [weight]) for weight in weights)
    for layer in dict.fromkeys(weight.layer for weight in weights):
        members = [weight for weight in weights if weight.layer == layer]
        last = max(index for weight in members for index in weight.segments)
        yield Place(text=f"every weight of {layer}", segment=last, layer=layer), members


class NotAsked(HandOff):
    """The hand-off in which a segment contributes nothing to its weights; contributions of other segments remain."""

    def __init__(self, at: int) -> None:
        """Leave out the contributions of the segment with the index `at`."""
        self._at = at

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        """Return None for the segment's weights."""
        return None if segment.plan.index == self._at else super().contribution(segment, key, gradient)

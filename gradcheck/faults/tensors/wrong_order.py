"""GC402: the right gradients at the wrong variables."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Injection, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.faults.interface import Found
    from gradcheck.problem.problem import Problem, TensorKey, Weight


class WrongOrder:
    """Two lists that are zipped after one of them was sorted, reversed or filtered."""

    code = "GC402"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield exchanges of neighbours of one shape, in the order of the backward pass; then orders of the whole list.

        In a wrong order of the list a weight may get a gradient of another shape, as user code may return it.
        """
        alike = _alike(problem.weights)
        pairs = [pair for group in alike for pair in pairwise(group)]
        position = {weight.key: i for i, weight in enumerate(problem.weights)}
        for first, second in sorted(pairs, key=lambda pair: -position[pair[1].key]):
            moved = {first.key: second.key, second.key: first.key}
            text = f"{first.path} and {second.path}"
            segment = max((*first.segments, *second.segments), default=None)
            place = Place(text=text, segment=segment, layer=first.path)
            yield self._moved(place, f"the gradients of {text} were exchanged", moved)
        known = [{first.key: second.key, second.key: first.key} for first, second in pairs]
        for effect, order in _orders(problem.weights, alike):
            moved = {to.key: of.key for to, of in zip(problem.weights, order, strict=True) if to is not of}
            if moved and moved not in known:
                known.append(moved)
                yield self._moved(Place(text="every weight", everywhere=True), effect, moved)

    def _moved(self, place: Place, effect: str, moved: Mapping[TensorKey, TensorKey]) -> Injection:
        finish = partial(_taken_from, moved)
        return Injection(code=self.code, place=place, effect=effect, finish=finish)


def _taken_from(moved: Mapping[TensorKey, TensorKey], found: Found) -> Found:
    return {to: found[of] for to, of in moved.items()}


def _alike(weights: Sequence[Weight]) -> list[list[Weight]]:
    """Return the weights grouped by shape and dtype, in order."""
    groups: dict[Any, list[Weight]] = {}
    for weight in weights:
        groups.setdefault((tuple(weight.variable.shape), weight.variable.dtype), []).append(weight)
    return list(groups.values())


def _orders(weights: Sequence[Weight], alike: Sequence[Sequence[Weight]]) -> Iterator[tuple[str, Sequence[Weight]]]:
    """Yield wrong orders of the list of gradients: the effect in words, and the weights of the gradients."""
    yield (
        "the gradients came in the order of the backward pass, the last segment's first",
        sorted(weights, key=lambda weight: -max(weight.segments, default=-1)),
    )
    yield "the list of gradients was reversed", weights[::-1]
    yield "the list of gradients was sorted by path", sorted(weights, key=lambda weight: weight.path)
    yield "the list of gradients was shifted by one", [*weights[-1:], *weights[:-1]]
    yield "the list of gradients was shifted back by one", [*weights[1:], *weights[:1]]
    for effect, shift in (("shifted by one", -1), ("shifted back by one", 1)):
        of = {to.key: group[(i + shift) % len(group)] for group in alike for i, to in enumerate(group)}
        yield f"among weights of one shape the gradients were {effect}", [of[weight.key] for weight in weights]

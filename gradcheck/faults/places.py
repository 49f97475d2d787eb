"""Where a fault can sit, and injecting one change at each such place and then at all of them: people write loops."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.faults.interface import EVERYWHERE, Injection, Place, boundaries, boundary
from gradcheck.handoff.split import HandOff
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.problem.problem import Problem, Weight

    #: Makes the hand-off that is wrong at the segments with these indices.
    Change = Callable[[Collection[int]], HandOff]


class AtBoundaries(HandOff):
    """The base of a hand-off that is wrong where some segments hand on what they made."""

    def __init__(self, problem: Problem, at: Collection[int]) -> None:
        """`at` are the indices of the segments."""
        self.refs = {ref for index in at for ref in handed_on(problem, index)}


def handed_on(problem: Problem, index: int) -> tuple[TensorRef, ...]:
    """The outputs of segment `index` that later segments take."""
    taken = {ref for segment in problem.segments for ref in segment.plan.inputs}
    return tuple(ref for ref in problem.segments[index].plan.outputs if ref in taken)


def has_cotangent(problem: Problem, ref: TensorRef) -> bool:
    """Whether `ref` crosses from one segment to another and is of a dtype that a gradient can have."""
    dtype = tf.as_dtype(problem.graph.spec(ref).dtype)
    return not ref.is_input and bool(dtype.is_floating or dtype.is_complex)


def at_boundaries(
    problem: Problem, code: str, change: Change, effect: str, where: Sequence[int] | None = None
) -> Iterator[Injection]:
    """`change` at each boundary of `where` (None for all, in the order of the backward pass), then at all of them.

    `effect` has {} for who hands on.
    """
    where = boundaries(problem) if where is None else where
    places = {index: boundary(problem, index) for index in where}
    complete = len(where) == len(boundaries(problem))
    everyone = "every segment but the last" if complete else _each_of(problem, where)
    return _each_then_all(problem, code, places, change, effect, everywhere=EVERYWHERE, everyone=everyone)


def at_segments(
    problem: Problem, code: str, change: Change, effect: str, where: Sequence[int] | None = None
) -> Iterator[Injection]:
    """`change` at each segment of `where` (None for all, in the order of the backward pass), then at all of them.

    `effect` has {} for the segment.
    """
    where = range(len(problem.segments))[::-1] if where is None else where
    places = {index: Place(text=f"segment {index}", segment=index) for index in where}
    everywhere = Place(text="every segment", everywhere=True)
    everyone = "every segment" if len(where) == len(problem.segments) else _each_of(problem, where)
    return _each_then_all(problem, code, places, change, effect, everywhere=everywhere, everyone=everyone)


def _each_then_all(
    problem: Problem,
    code: str,
    places: Mapping[int, Place],
    change: Change,
    effect: str,
    *,
    everywhere: Place,
    everyone: str,
) -> Iterator[Injection]:
    for index, place in places.items():
        said = effect.format(problem.segments[index].plan.name)
        yield Injection(code=code, place=place, effect=said, steps=partial(change, {index}))
    if len(places) > 1:
        yield Injection(
            code=code, place=everywhere, effect=effect.format(everyone), steps=partial(change, frozenset(places))
        )


def _each_of(problem: Problem, where: Sequence[int]) -> str:
    return f"each of {some([problem.segments[index].plan.name for index in sorted(where)])}"


def at_weight(weight: Weight) -> Place:
    """The place of a fault that one weight shows."""
    return Place(text=weight.path, segment=max(weight.segments, default=None), layer=weight.path)


def used_weights(problem: Problem) -> list[Weight]:
    """The weights that some segment uses, in the order of the backward pass."""
    return [weight for weight in reversed(problem.weights) if weight.segments]

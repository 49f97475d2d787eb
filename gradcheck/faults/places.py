"""Places of faults: one change at each boundary, segment or weight, then at all of them, as a loop makes it."""

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

    #: Makes the hand-off that is wrong at the segments with the given indices.
    Change = Callable[[Collection[int]], HandOff]


class AtBoundaries(HandOff):
    """The base of a hand-off that is wrong at the outputs of some segments."""

    def __init__(self, problem: Problem, at: Collection[int] | Collection[TensorRef]) -> None:
        """Find the boundary tensors: those of the segments with the indices `at`, or those in `at` themselves."""
        self.refs = {ref for item in at for ref in (handed_on(problem, item) if isinstance(item, int) else (item,))}
        made_by = (s.plan.index for s in problem.segments if self.refs.intersection(s.plan.outputs))
        self.last = max(made_by, default=None)


def handed_on(problem: Problem, index: int) -> tuple[TensorRef, ...]:
    """Return the outputs of segment `index` that later segments take."""
    taken = {ref for segment in problem.segments for ref in segment.plan.inputs}
    return tuple(ref for ref in problem.segments[index].plan.outputs if ref in taken)


def has_cotangent(problem: Problem, ref: TensorRef) -> bool:
    """Whether `ref` crosses from one segment to another and has a dtype that a gradient can have."""
    dtype = tf.as_dtype(problem.graph.spec(ref).dtype)
    return not ref.is_input and bool(dtype.is_floating or dtype.is_complex)


def at_boundaries(
    problem: Problem, code: str, change: Change, effect: str, where: Sequence[int] | None = None
) -> Iterator[Injection]:
    """Yield `change` at each boundary of `where` (None: all, in the order of the backward pass), then at all of them.

    `effect` has {} in place of the segment whose outputs cross.
    """
    where = boundaries(problem) if where is None else where
    places = {index: boundary(problem, index) for index in where}
    # If the change applies at some boundaries only, its effect must name these.
    complete = len(where) == len(boundaries(problem))
    names = {index: problem.segments[index].plan.name for index in where}
    everyone = "every segment but the last" if complete else _each_of(names)
    return _each_then_all(code, places, names, change, effect, everywhere=EVERYWHERE, everyone=everyone)


def at_tensors(
    problem: Problem,
    code: str,
    change: Callable[[Collection[TensorRef]], HandOff],
    effect: str,
    where: Sequence[int] | None = None,
) -> Iterator[Injection]:
    """Yield `change` at each of several tensors that cross a boundary of `where` (None: all) together.

    `effect` has {} in place of the tensor.
    """
    for index in boundaries(problem) if where is None else where:
        refs = [ref for ref in handed_on(problem, index) if has_cotangent(problem, ref)]
        for ref in refs if len(refs) > 1 else ():
            name, of_all = problem.graph.name(ref), boundary(problem, index)
            place = Place(text=f"{of_all.text}, tensor {name}", segment=index, layer=name)
            yield Injection(code=code, place=place, effect=effect.format(name), steps=partial(change, {ref}))


def at_segments(
    problem: Problem, code: str, change: Change, effect: str, where: Sequence[int] | None = None
) -> Iterator[Injection]:
    """Yield `change` at each segment of `where` (None: all, in the order of the backward pass), then at all of them.

    `effect` has {} in place of the segment.
    """
    where = range(len(problem.segments))[::-1] if where is None else where
    places = {index: Place(text=_segment(problem, index), segment=index) for index in where}
    everywhere = Place(text="every segment", everywhere=True)
    names = {index: _name(problem, index) for index in where}
    everyone = "every segment" if len(where) == len(problem.segments) else _each_of(names)
    return _each_then_all(code, places, names, change, effect, everywhere=everywhere, everyone=everyone)


def _each_then_all(
    code: str,
    places: Mapping[int, Place],
    names: Mapping[int, str],
    change: Change,
    effect: str,
    *,
    everywhere: Place,
    everyone: str,
) -> Iterator[Injection]:
    for index, place in places.items():
        said = effect.format(names[index])
        yield Injection(code=code, place=place, effect=said, steps=partial(change, {index}))
    # With one place, "everywhere" is the same injection again: it would only cost another replay.
    if len(places) > 1:
        yield Injection(
            code=code, place=everywhere, effect=effect.format(everyone), steps=partial(change, frozenset(places))
        )


def _each_of(names: Mapping[int, str]) -> str:
    return f"each of {some([names[index] for index in sorted(names)])}"


def _segment(problem: Problem, index: int) -> str:
    """Return what people call the segment: `segment 1`, or its layer if they made no cut there."""
    plan, name = problem.segments[index].plan, _name(problem, index)
    return f"segment {index}" if name == plan.name else f"layer {name}"


def _name(problem: Problem, index: int) -> str:
    """Return the name of a segment: that of its layer where every layer is one, as for live objects."""
    plan, split = problem.segments[index].plan, problem.config.split
    if split is None or split.every is None or len(plan.calls) != 1:
        return plan.name
    return problem.graph.calls[plan.calls[0]].path or plan.name


def at_weight(weight: Weight) -> Place:
    """Return the place of a fault that affects one weight."""
    # The backward pass comes to the last segment of a shared weight first.
    return Place(text=weight.path, segment=max(weight.segments, default=None), layer=weight.path)


def used_weights(problem: Problem) -> list[Weight]:
    """Return the weights that some segment uses, in the order of the backward pass."""
    return [weight for weight in reversed(problem.weights) if weight.segments]

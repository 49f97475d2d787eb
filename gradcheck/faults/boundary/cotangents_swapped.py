"""GC106: the cotangents of two tensors of the same shape are exchanged."""

from __future__ import annotations

from functools import partial
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import EVERYWHERE, Injection, Place, boundaries, boundary
from gradcheck.faults.links import links
from gradcheck.faults.places import handed_on, has_cotangent
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem

    #: The index of a segment, and two of its outputs (or of its inputs) that are exchanged.
    Swap = tuple[int, TensorRef, TensorRef]

#: The number of tensors up to which every pair is tried; of more, neighbours.
_FEW = 4


class CotangentsSwapped:
    """Exchanged cotangents, such as `[c, h]` for `[h, c]`."""

    code = "GC106"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each pair among the outputs or the inputs of a segment, and the first pair at every boundary."""
        made_by = {link.ref: link.maker for link in links(problem)}
        first = []
        for index in boundaries(problem):
            pairs = list(_pairs(problem, handed_on(problem, index)))
            first += [(index, *pair) for pair in pairs[:1]]
            for pair in pairs:
                yield self._swapped(problem, boundary(problem, index).text, index, [(index, *pair)])
        for segment in reversed(problem.segments):
            for pair in _pairs(problem, segment.plan.inputs):
                makers = sorted(made_by[ref] for ref in pair)
                # Two inputs from one segment are a pair of its outputs, which is tried above.
                if makers[0] != makers[1]:
                    where = f"boundary {makers[0]}, {makers[1]} → {segment.plan.index}"
                    yield self._swapped(problem, where, makers[1], [(segment.plan.index, *pair)])
        if len(first) > 1:
            effect = "the cotangents of the first two tensors of one shape were exchanged at every boundary"
            yield Injection(code=self.code, place=EVERYWHERE, effect=effect, steps=partial(Swapped, first))

    def _swapped(self, problem: Problem, where: str, segment: int, swaps: Sequence[Swap]) -> Injection:
        names = [problem.graph.name(ref) for ref in swaps[0][1:]]
        place = Place(text=f"{where}, tensors {names[0]} and {names[1]}", segment=segment, layer=names[0])
        effect = f"the cotangents of {names[0]} and {names[1]} were exchanged"
        return Injection(code=self.code, place=place, effect=effect, steps=partial(Swapped, swaps))


def _pairs(problem: Problem, refs: Iterable[TensorRef]) -> Iterator[tuple[TensorRef, TensorRef]]:
    """Yield pairs of `refs` with the same shape and dtype, which can be exchanged without an error."""
    alike: dict[Any, list[TensorRef]] = {}
    for ref in refs:
        if has_cotangent(problem, ref):
            spec = problem.graph.spec(ref)
            alike.setdefault((tuple(spec.shape), spec.dtype), []).append(ref)
    for group in alike.values():
        yield from combinations(group, 2) if len(group) <= _FEW else pairwise(group)


class Swapped(HandOff):
    """The hand-off in which two seeds of a segment, or two of the gradients that it returns, are exchanged."""

    def __init__(self, swaps: Collection[Swap]) -> None:
        """Exchange the pairs of outputs, or of inputs, in `swaps`."""
        self._swaps = swaps

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return the gradients with seeds and gradients in the wrong order."""
        plan, seeds = done.segment.plan, list(seeds)
        mine = [pair for index, *pair in self._swaps if index == plan.index]
        made = {ref: id(output) for ref, output in zip(plan.outputs, done.outputs, strict=True)}
        at = {id(target): i for i, target in enumerate(targets)}
        for pair in mine:
            exchange(seeds, [at[made[ref]] for ref in pair if made.get(ref) in at])
        gradients = super().pull_back(done, targets, seeds, sources)
        for pair in mine:
            exchange(gradients, [plan.inputs.index(ref) for ref in pair if ref in plan.inputs])
        return gradients


def exchange(items: list[Any], where: Sequence[int]) -> None:
    """Exchange the two items at `where`; do nothing if it does not hold two indices."""
    if len(where) > 1:
        first, second = where
        items[first], items[second] = items[second], items[first]

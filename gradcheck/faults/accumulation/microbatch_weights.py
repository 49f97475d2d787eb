"""GC201 to GC204 and GC206: the gradients of micro-batches are added up with the wrong weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from gradcheck.faults.accumulation.slicing import counts_elements, new_sizes, over, own_sizes
from gradcheck.faults.interface import Fault, Injection
from gradcheck.faults.losses.added_losses import adds_to_loss
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem

    #: From what each micro-batch counts for, and how many examples it has, to what it is made to count for.
    Weighing = Callable[[Sequence[float], Sequence[int]], list[float]]


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """One way to weigh wrongly.

    Attributes:
        effect: in words.
        weigh: the wrong weights.
        sums: whether it weighs losses that are sums over the batch too, of which every slice counts for 1.
        shows: where it is a way of its own: `always`; where slices count differently (`uneven`), because they are not
            of one size (`ragged`), or are not, and the loss counts something else than examples (`counted`).
    """

    effect: str
    weigh: Weighing
    sums: bool = True
    shows: Literal["always", "uneven", "ragged", "counted"] = "always"

    def shares_fit(self, sizes: Sequence[int]) -> bool:
        """Whether what layers add to the loss counts once all the same."""
        return math.isclose(sum(self.weigh([size / sum(sizes) for size in sizes], sizes)), 1.0)


class _Weights(Fault):
    """The base of these faults: they differ in their ways."""

    ways: tuple[Weighting, ...]
    nowhere = "no micro-batches that it could change"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Each way, over the problem's own micro-batches."""
        return self._over(problem, own_sizes(problem), None)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Each way, over `count` micro-batches."""
        return self._over(problem, new_sizes(problem, count), count)

    def _over(self, problem: Problem, sizes: Sequence[int], slices: int | None) -> Iterator[Injection]:
        ragged, counted = len(set(sizes)) > 1, counts_elements(problem)
        shown = {"always": True, "uneven": ragged or counted, "ragged": ragged, "counted": ragged and counted}
        adds = len(sizes) > 1 and adds_to_loss(problem)
        for way in self.ways if len(sizes) > 1 else ():
            if not shown[way.shows]:
                continue
            wrong = partial(Injection, code=self.code, place=over(len(sizes)), slices=slices)
            yield wrong(effect=way.effect, steps=partial(Weighed, problem, way))
            if adds and not way.shares_fit(sizes):
                effect = f"{way.effect}; what layers add to the loss was added once, as it should"
                yield wrong(effect=effect, steps=partial(Weighed, problem, way, added_too=False))


class Summed(_Weights):
    """Means that are added up."""

    code = "GC201"
    ways = (
        Weighting(
            effect="the micro-batches' mean gradients were summed",
            weigh=lambda right, _: [1.0] * len(right),
        ),
    )


class AveragedTwice(_Weights):
    """The right weights, and a division by the number of micro-batches on top."""

    code = "GC202"
    ways = (
        Weighting(
            effect="the gradients were divided by the number of micro-batches once more",
            weigh=lambda right, _: [weight / len(right) for weight in right],
        ),
    )


class RaggedLast(_Weights):
    """Slices that count differently get the same weight."""

    code = "GC203"
    ways = (
        Weighting(
            effect="every micro-batch got the weight 1/M, whatever it holds",
            weigh=lambda right, _: [1 / len(right)] * len(right),
            sums=False,
            shows="uneven",
        ),
        Weighting(
            effect="every micro-batch got the weight of a full one, its size / the batch",
            weigh=lambda right, sizes: [sizes[0] / sum(sizes)] * len(right),
            sums=False,
            shows="ragged",
        ),
        Weighting(
            effect="the last micro-batch was averaged as if it were full",
            weigh=lambda right, sizes: [size / (sizes[0] * len(right)) for size in sizes],
            sums=False,
            shows="ragged",
        ),
        Weighting(
            effect="micro-batches were weighed by their examples where the loss counts unmasked elements or weights",
            weigh=lambda _, sizes: [size / sum(sizes) for size in sizes],
            sums=False,
            shows="counted",
        ),
    )


class OnlyLastKept(_Weights):
    """Each micro-batch overwrites the one before."""

    code = "GC204"
    ways = (
        Weighting(
            effect="only the last micro-batch's gradient was kept, as it is",
            weigh=lambda right, _: [*_none(right), 1.0],
        ),
        Weighting(
            effect="only the last micro-batch's gradient was kept, weighed by its share",
            weigh=lambda right, _: [*_none(right), right[-1]],
        ),
        Weighting(
            effect="only the last micro-batch's gradient was kept, divided by the number of micro-batches",
            weigh=lambda right, _: [*_none(right), 1 / len(right)],
            shows="uneven",
        ),
    )


class LastLeftOut(_Weights):
    """The last micro-batch does not reach the accumulators."""

    code = "GC206"
    ways = (
        Weighting(
            effect="the last micro-batch was left out, and the others weighed as if it were there",
            weigh=lambda right, _: [*right[:-1], 0.0],
        ),
        Weighting(
            effect="the last micro-batch was left out as if the batch ended before it",
            weigh=lambda right, _: [*(weight * sum(right) / sum(right[:-1]) for weight in right[:-1]), 0.0],
        ),
        Weighting(
            effect="the last micro-batch was left out, and each of the others got the weight 1/M",
            weigh=lambda right, _: [*[1 / len(right)] * (len(right) - 1), 0.0],
            shows="uneven",
        ),
    )


def _none(right: Sequence[float]) -> list[float]:
    """Of every micro-batch but the last nothing counts."""
    return [0.0] * (len(right) - 1)


class Weighed(HandOff):
    """Every micro-batch is there, but counts for something else."""

    def __init__(self, problem: Problem, way: Weighting, *, added_too: bool = True) -> None:
        """`problem` says which terms of its loss are sums; `added_too` is for what layers add to it."""
        self._way, self._added_too = way, added_too
        self._sums = [term is not None and term.reduction == "sum" for term in problem.loss.terms]

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """The same slices with other scales and shares."""
        sizes = [int(part.tensors.x[0].shape[0]) for part in parts]
        shares = [part.share or 0.0 for part in parts]
        shares = self._way.weigh(shares, sizes) if self._added_too else shares
        by_term = zip(*(part.scales or () for part in parts), strict=True)
        scales = [self._scales(of_term, sizes, is_sum) for of_term, is_sum in zip(by_term, self._sums, strict=True)]
        return [
            part._replace(scales=of_part, share=share)
            for part, of_part, share in zip(parts, zip(*scales, strict=True), shares, strict=True)
        ]

    def _scales(self, right: Sequence[float | None], sizes: Sequence[int], is_sum: bool) -> Sequence[float | None]:  # noqa: FBT001 - zipped
        known = [scale for scale in right if scale is not None]
        if len(known) < len(right) or (is_sum and not self._way.sums):
            return right
        return self._way.weigh(known, sizes)

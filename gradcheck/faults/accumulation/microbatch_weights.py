"""GC201 to GC204, GC206 and GC208: the gradients of micro-batches are added up with the wrong weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from gradcheck.faults.accumulation.slicing import counts_elements, divides_by_weights, new_sizes, over, own_sizes
from gradcheck.faults.interface import Fault, Injection
from gradcheck.faults.losses.added_losses import adds_to_loss
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem

    #: From the right weights of micro-batches and their numbers of examples to wrong weights.
    Weighing = Callable[[Sequence[float], Sequence[int]], list[float]]


@dataclass(frozen=True, kw_only=True)
class Weighting:
    """A wrong weighting of micro-batches.

    Attributes:
        effect: the weighting in words.
        weigh: computes the wrong weights.
        sums: whether it applies to losses that are sums over the batch too, in which every slice has the weight 1.
        shows: when it differs from other weightings: `always`; if slices have different weights (`uneven`), because
            they have different sizes (`ragged`), or if they have, and the loss also counts something else than
            examples (`counted`), or because the loss is divided by the sum of sample weights (`weighted`).
    """

    effect: str
    weigh: Weighing
    sums: bool = True
    shows: Literal["always", "uneven", "ragged", "counted", "weighted"] = "always"

    def shares_fit(self, sizes: Sequence[int]) -> bool:
        """Whether added losses count once all the same."""
        return math.isclose(sum(self.weigh([size / sum(sizes) for size in sizes], sizes)), 1.0)


class _Weights(Fault):
    """The base of these faults, which differ in their weightings."""

    ways: tuple[Weighting, ...]
    nowhere = "no micro-batches that it could change"

    def weightings(self, count: int, *, own: bool) -> tuple[Weighting, ...]:  # noqa: ARG002 - for those that need them
        """Return the weightings of `count` micro-batches, which are the problem's `own`, or such as are suspected."""
        return self.ways

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each weighting over the problem's own micro-batches."""
        return self._over(problem, own_sizes(problem), None)

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield each weighting over `count` micro-batches."""
        return self._over(problem, new_sizes(problem, count), count)

    def _over(self, problem: Problem, sizes: Sequence[int], slices: int | None) -> Iterator[Injection]:
        ragged, counted = len(set(sizes)) > 1, counts_elements(problem)
        weighted = divides_by_weights(problem)
        shown = {
            "weighted": weighted,
            "always": True,
            "uneven": ragged or counted,
            "ragged": ragged,
            "counted": ragged and counted,
        }
        adds = len(sizes) > 1 and adds_to_loss(problem)
        for way in self.weightings(len(sizes), own=slices is None) if len(sizes) > 1 else ():
            if not shown[way.shows]:
                continue
            wrong = partial(Injection, code=self.code, place=over(len(sizes)), slices=slices)
            yield wrong(effect=way.effect, steps=partial(Weighed, problem, way))
            if adds and not way.shares_fit(sizes):
                effect = f"{way.effect}; what layers add to the loss was added once, as it should"
                yield wrong(effect=effect, steps=partial(Weighed, problem, way, added_too=False))


class Summed(_Weights):
    """Mean gradients that are summed."""

    code = "GC201"
    ways = (
        Weighting(
            effect="the micro-batches' mean gradients were summed",
            weigh=lambda right, _: [1.0] * len(right),
        ),
    )


class AveragedTwice(_Weights):
    """The right weights, divided by the number of micro-batches once more."""

    code = "GC202"
    ways = (
        Weighting(
            effect="the gradients were divided by the number of micro-batches once more",
            weigh=lambda right, _: [weight / len(right) for weight in right],
        ),
    )


class EachByItsOwn(_Weights):
    """Each slice's loss is divided by the sum of its own sample weights, and all count alike."""

    code = "GC208"
    nowhere = "no loss is divided by the sum of sample weights"
    ways = (
        Weighting(
            effect="each slice divided by the sum of its own sample weights, and all slices counted alike",
            weigh=lambda right, _: [1 / len(right)] * len(right),
            sums=False,
            shows="weighted",
        ),
    )


class RaggedLast(_Weights):
    """The same weight for slices that count differently."""

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


class OnlyOneKept(_Weights):
    """Each micro-batch's gradients overwrite the previous ones, or a loop ends after its first turn."""

    code = "GC204"

    def weightings(self, count: int, *, own: bool) -> tuple[Weighting, ...]:  # noqa: ARG002 - as the others
        """Return those that keep the last or the first alone; in few, any; of two, the first alone is GC206."""
        others = range(count - 1) if count <= MOST_SUSPECTED else range(1)
        return (
            *_alone(count - 1, "the last micro-batch"),
            *(way for i in others if count > 2 for way in _alone(i, f"micro-batch {i}")),  # noqa: PLR2004 - of two
        )


class LastLeftOut(_Weights):
    """The last micro-batch's gradients are not accumulated."""

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

    def weightings(self, count: int, *, own: bool) -> tuple[Weighting, ...]:
        """Return also those that leave out another micro-batch, or count one twice: in few, for each costs a replay."""
        if not own and count > MOST_SUSPECTED:
            return self.ways
        others = (_without(index) for index in range(count - 1))
        twice = (way for index in range(count) for way in _twice(index))
        return (*self.ways, *others, *twice)


#: Of how many micro-batches that a candidate may have made each is suspected to be left out, or counted twice.
MOST_SUSPECTED = 4


def _alone(index: int, name: str) -> tuple[Weighting, ...]:
    """Keep the gradient of micro-batch `index` alone: as it is, or with a weight."""
    kept = f"only {name}'s gradient was kept"

    def only(weight: float, right: Sequence[float]) -> list[float]:
        return [weight if i == index else 0.0 for i in range(len(right))]

    return (
        Weighting(effect=f"{kept}, as it is", weigh=lambda right, _: only(1.0, right)),
        Weighting(effect=f"{kept}, weighed by its share", weigh=lambda right, _: only(right[index], right)),
        Weighting(
            effect=f"{kept}, divided by the number of micro-batches",
            weigh=lambda right, _: only(1 / len(right), right),
            shows="uneven",
        ),
    )


def _without(index: int) -> Weighting:
    """Leave out micro-batch `index`, which is not the last."""
    return Weighting(
        effect=f"micro-batch {index} was left out, and the others weighed as if it were there",
        weigh=lambda right, _: [0.0 if i == index else weight for i, weight in enumerate(right)],
    )


def _twice(index: int) -> tuple[Weighting, ...]:
    """Count micro-batch `index` twice, beside the right weights of the others, or beside one more of them."""
    return (
        Weighting(
            effect=f"micro-batch {index} was counted twice, and the others once",
            weigh=lambda right, _: [weight * (1 + (i == index)) for i, weight in enumerate(right)],
        ),
        Weighting(
            effect=f"micro-batch {index} was counted twice, and all divided by one more than there are",
            weigh=lambda right, _: [
                weight * (1 + (i == index)) * len(right) / (len(right) + 1) for i, weight in enumerate(right)
            ],
        ),
    )


class Weighed(HandOff):
    """The hand-off in which micro-batches have wrong weights."""

    def __init__(self, problem: Problem, way: Weighting, *, added_too: bool = True) -> None:
        """Weigh by `way`; added losses too, if `added_too`."""
        self._way, self._added_too = way, added_too
        self._sums = [term is not None and term.reduction == "sum" for term in problem.loss.terms]

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the same slices with other scales and shares."""
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

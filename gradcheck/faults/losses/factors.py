"""GC503 and GC504: gradients multiplied by a power of two, or by -1."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.losses.added_losses import added_losses_with, adds_to_loss
from gradcheck.faults.places import AtBoundaries, at_boundaries, at_segments
from gradcheck.handoff.split import HandOff
from gradcheck.handoff.tensors import scaled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Found
    from gradcheck.handoff.split import LossGradients
    from gradcheck.problem.problem import Problem, TensorKey

#: The initial scale of Keras's `LossScaleOptimizer`.
_FIRST_SCALE = 2**15
#: How far from a whole number a logarithm may be that is one but for rounding.
WHOLE = 1e-4
#: Ten, and a tenth, are weights of losses more often than scales.
FEW = 11


class LossScaleLeft(Fault):
    """A loss scaled so that small gradients survive in 16 bits, and gradients that are never divided by the scale."""

    code = "GC503"
    nowhere = "the loss is not scaled"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault with Keras's initial scale, if the precision scales the loss."""
        return self.injections_with(problem, _FIRST_SCALE) if "float16" in _words(problem.precision) else iter(())

    def injections_with(self, problem: Problem, factor: float) -> Iterator[Injection]:
        """Yield the fault with `factor`, in any precision: all gradients, each boundary, the weights of each segment.

        Then those of every segment but one, which alone divides them.
        """
        scale, kept = f"multiplied by the loss scale {factor:g}", "and not divided again"
        if 0 < factor < 1:
            scale, kept = f"divided by the loss scale {1 / factor:g}", "without having been multiplied by it"
        yield from _multiplied(problem, self.code, factor, f"{scale}, {kept}")
        yield from added_losses_with(problem, self.code, factor, f"{scale}, {kept}")
        every = range(len(problem.segments))
        for segment in problem.segments[::-1] if len(every) > 2 else ():  # noqa: PLR2004 - of two: the other one alone
            plan = segment.plan
            yield Injection(
                code=self.code,
                place=Place(text=f"every segment but {plan.index}", everywhere=True),
                effect=f"every gradient was {scale}, and those of {plan.name} alone were divided again",
                steps=partial(ScaledWeights, {*every} - {plan.index}, factor=factor),
            )

    def fits(self, problem: Problem, factor: float) -> bool:
        """Whether the factor may be a loss scale."""
        return may_be_loss_scale(problem, factor)


class SignFlipped(Fault):
    """A loss that is maximised."""

    code = "GC504"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each boundary, each segment's own weights, and all gradients."""
        return _multiplied(problem, self.code, -1, "negated")


def may_be_loss_scale(problem: Problem, factor: float) -> bool:
    """Whether `factor`, or one over it, is a power of two or ten above the batch size: it counts no examples."""
    scale = max(factor, 1 / factor) if factor > 0 else 0.0
    if round(scale) <= problem.batch.size:
        return False
    powers = [math.log2(scale), *([math.log10(scale)] if scale > FEW else [])]
    return any(abs(power - round(power)) < WHOLE for power in powers)


def _words(precision: str) -> list[str]:
    return precision.split("_")


def _multiplied(problem: Problem, code: str, factor: float, done: str) -> Iterator[Injection]:
    whole = Place(text="every gradient", everywhere=True)
    yield Injection(code=code, place=whole, effect=f"every gradient was {done}", finish=partial(all_scaled, factor))
    if adds_to_loss(problem):
        effect = f"every gradient of the data loss was {done}, and that of what layers add to it was not"
        yield Injection(code=code, place=whole, effect=effect, steps=partial(ScaledLoss, factor))
    if len(problem.segments) > 1:
        cotangents = partial(ScaledCotangents, problem, factor=factor)
        boundaries = at_boundaries(problem, code, cotangents, f"the cotangent of {{}} was {done}")
        # At all boundaries at once the factor would accumulate from segment to segment.
        yield from (injection for injection in boundaries if not injection.place.everywhere)
        own = at_segments(problem, code, partial(ScaledWeights, factor=factor), f"the gradients of {{}} were {done}")
        yield from (injection for injection in own if not injection.place.everywhere)


def all_scaled(factor: float, found: Found) -> Found:
    """Return every gradient, multiplied."""
    return {key: scaled(gradient, factor) for key, gradient in found.items()}


class ScaledLoss(HandOff):
    """The hand-off in which the gradient of the data loss is multiplied where the backward pass starts."""

    def __init__(self, factor: float) -> None:
        """Multiply by `factor`."""
        self._factor = factor

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        """Return the gradients of the data loss, multiplied."""
        seeds = [scaled(seed, self._factor) for seed in at_loss.seeds]
        return at_loss._replace(seeds=seeds, hidden={ref: scaled(s, self._factor) for ref, s in at_loss.hidden.items()})


class ScaledCotangents(AtBoundaries):
    """The hand-off in which the cotangents of some segments are multiplied."""

    def __init__(self, problem: Problem, at: Collection[int], *, factor: float) -> None:
        """Multiply at the segments with the indices `at`."""
        super().__init__(problem, at)
        self._factor = factor

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return the seed, multiplied."""
        cotangent = super().cotangent(segment, ref, output, cotangent)
        return scaled(cotangent, self._factor) if ref in self.refs else cotangent


class ScaledWeights(HandOff):
    """The hand-off in which weight gradients of some segments are multiplied, and their input cotangents are not."""

    def __init__(self, at: Collection[int], *, factor: float) -> None:
        """Multiply at the segments with the indices `at`."""
        self._at, self._factor = at, factor

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        """Return the gradient, multiplied."""
        gradient = super().contribution(segment, key, gradient)
        return scaled(gradient, self._factor) if segment.plan.index in self._at else gradient

"""GC503 and GC504: gradients that are multiplied by a power of two, or by -1."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.losses.added_losses import adds_to_loss
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

#: What Keras's `LossScaleOptimizer` starts with.
_FIRST_SCALE = 2**15


class LossScaleLeft(Fault):
    """The loss was multiplied so that small gradients survive 16 bits, and the gradients were never divided."""

    code = "GC503"
    nowhere = "the loss is not scaled"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """With the scale that Keras starts with, where a loss is scaled at all."""
        return self.injections_with(problem, _FIRST_SCALE) if "float16" in _words(problem.precision) else iter(())

    def injections_with(self, problem: Problem, factor: int) -> Iterator[Injection]:
        """With `factor`, in whatever precision: each boundary and all behind it, each segment's own, and all."""
        return _multiplied(problem, self.code, factor, f"multiplied by the loss scale {factor}, and not divided again")


class SignFlipped(Fault):
    """The loss is maximised."""

    code = "GC504"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Each boundary and all behind it, each segment's own, and all."""
        return _multiplied(problem, self.code, -1, "negated")


def _words(precision: str) -> list[str]:
    return precision.split("_")


def _multiplied(problem: Problem, code: str, factor: int, done: str) -> Iterator[Injection]:
    whole = Place(text="every gradient", everywhere=True)
    yield Injection(code=code, place=whole, effect=f"every gradient was {done}", finish=partial(_all_scaled, factor))
    if adds_to_loss(problem):
        effect = f"every gradient of the data loss was {done}, and that of what layers add to it was not"
        yield Injection(code=code, place=whole, effect=effect, steps=partial(ScaledLoss, factor))
    if len(problem.segments) > 1:
        cotangents = partial(ScaledCotangents, problem, factor=factor)
        boundaries = at_boundaries(problem, code, cotangents, f"the cotangent of {{}} was {done}")
        yield from (injection for injection in boundaries if not injection.place.everywhere)
        own = at_segments(problem, code, partial(ScaledWeights, factor=factor), f"the gradients of {{}} were {done}")
        yield from (injection for injection in own if not injection.place.everywhere)


def _all_scaled(factor: int, found: Found) -> Found:
    return {key: scaled(gradient, factor) for key, gradient in found.items()}


class ScaledLoss(HandOff):
    """The gradient of the data loss is multiplied, where the backward pass begins."""

    def __init__(self, factor: int) -> None:
        """`factor` is by how much."""
        self._factor = factor

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        """All that comes of the data loss, multiplied."""
        seeds = [scaled(seed, self._factor) for seed in at_loss.seeds]
        return at_loss._replace(seeds=seeds, hidden={ref: scaled(s, self._factor) for ref, s in at_loss.hidden.items()})


class ScaledCotangents(AtBoundaries):
    """What some segments get back is multiplied."""

    def __init__(self, problem: Problem, at: Collection[int], *, factor: int) -> None:
        """`at` are the indices of the segments."""
        super().__init__(problem, at)
        self._factor = factor

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """The seed, multiplied."""
        cotangent = super().cotangent(segment, ref, output, cotangent)
        return scaled(cotangent, self._factor) if ref in self.refs else cotangent


class ScaledWeights(HandOff):
    """What some segments add to their weights is multiplied; what they hand back is not."""

    def __init__(self, at: Collection[int], *, factor: int) -> None:
        """`at` are the indices of the segments."""
        self._at, self._factor = at, factor

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        """The gradient, multiplied."""
        gradient = super().contribution(segment, key, gradient)
        return scaled(gradient, self._factor) if segment.plan.index in self._at else gradient

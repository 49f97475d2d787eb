"""GC112: a cotangent multiplied by a number, such as that of a gradient reversal which was left out."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.links import links
from gradcheck.faults.losses.factors import ScaledCotangents, may_be_loss_scale
from gradcheck.faults.places import AtBoundaries, at_boundaries, at_tensors
from gradcheck.handoff.split import HandOff
from gradcheck.handoff.tensors import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.links import Link
    from gradcheck.problem.problem import Problem


class CotangentFactor(Fault):
    """A factor on a cotangent, or on one of several that are added up."""

    code = "GC112"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each of several cotangents negated, a half of each boundary's, and dummy losses that are means.

        The cotangent of a boundary negated as a whole is GC504.
        """
        yield from _one_of_several(problem, -1.0)
        halves = _of_boundaries(problem, 0.5)
        yield from (injection for injection in halves if not injection.place.everywhere)
        effect = "{} was differentiated by a dummy loss that is a mean: the sum of boundary times cotangent / its size"
        yield from at_boundaries(problem, self.code, partial(MeanOfProducts, problem), effect)

    def injections_with(self, problem: Problem, factor: float) -> Iterator[Injection]:
        """Yield each of several cotangents, each boundary's and every boundary's, multiplied by `factor`."""
        yield from _one_of_several(problem, factor)
        yield from _of_boundaries(problem, factor)

    def fits(self, problem: Problem, factor: float) -> bool:
        """Whether the factor is no loss scale: that is GC503."""
        return not may_be_loss_scale(problem, factor)


def _one_of_several(problem: Problem, factor: float) -> Iterator[Injection]:
    """Yield each cotangent that comes back to a segment beside others."""
    crossing = links(problem)
    for link in sorted(crossing, key=lambda link: (-link.maker, -link.taker)):
        if sum(other.maker == link.maker for other in crossing) > 1:
            name, taker = problem.graph.name(link.ref), problem.segments[link.taker].plan
            yield Injection(
                code=CotangentFactor.code,
                place=Place(
                    text=f"boundary {link.maker} → {taker.index}, tensor {name}", segment=link.maker, layer=name
                ),
                effect=f"the cotangent of {name} that {taker.name} hands back was multiplied by {factor:.4g}",
                steps=partial(ScaledLink, link, factor),
            )


def _of_boundaries(problem: Problem, factor: float) -> Iterator[Injection]:
    change = partial(ScaledCotangents, problem, factor=factor)
    effect = f"the cotangent of {{}} was multiplied by {factor:.4g}"
    yield from at_tensors(problem, CotangentFactor.code, change, effect)
    yield from at_boundaries(problem, CotangentFactor.code, change, effect)


class ScaledLink(HandOff):
    """The hand-off in which what one segment hands back for one of its inputs is multiplied."""

    def __init__(self, link: Link, factor: float) -> None:
        """Multiply the cotangent of `link`; other segments that take the same tensor hand back what they should."""
        self._at, self._factor = (link.taker, link.ref), factor

    def input_cotangent(self, segment: Segment, ref: TensorRef, gradient: Any) -> Any:
        """Return the cotangent, multiplied."""
        gradient = super().input_cotangent(segment, ref, gradient)
        return scaled(gradient, self._factor) if (segment.plan.index, ref) == self._at else gradient


class MeanOfProducts(AtBoundaries):
    """The hand-off in which segments are differentiated by `tf.reduce_mean(boundary * cotangent)`."""

    def cotangent(self, segment: Segment, ref: TensorRef, output: Any, cotangent: Any) -> Any:
        """Return the cotangent, divided by the number of its elements."""
        cotangent = super().cotangent(segment, ref, output, cotangent)
        if ref not in self.refs or cotangent is None:
            return cotangent
        return scaled(cotangent, 1 / max(math.prod(tf.shape(cotangent).numpy().tolist()), 1))

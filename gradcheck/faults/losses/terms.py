"""GC505: a term of the loss with another weight than it has: that of an output, or what layers add."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.building.endpoints import output_names
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.losses.added_losses import added_losses_with, adds_to_loss
from gradcheck.faults.losses.factors import ScaledLoss, may_be_loss_scale
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


class TermWeighed(Fault):
    """A loss weight that was forgotten, or another output's; a penalty with a part of its weight."""

    code = "GC505"
    nowhere = "the loss has one term"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each term left out and halved, and what layers add halved: left out it is GC501, repeated GC502."""
        yield from _of_outputs(problem, 0.0)
        yield from self.injections_with(problem, 0.5)

    def injections_with(self, problem: Problem, factor: float) -> Iterator[Injection]:
        """Yield the term of each output, what each segment adds, and all of the data loss beside what they add."""
        yield from _of_outputs(problem, factor)
        yield from added_losses_with(problem, self.code, factor, f"multiplied by {factor:.4g}")
        if adds_to_loss(problem):
            effect = f"the data loss was multiplied by {factor:.4g}, and what layers add to it was not"
            place = Place(text="the loss", everywhere=True)
            yield Injection(code=self.code, place=place, effect=effect, steps=partial(ScaledLoss, factor))

    def fits(self, problem: Problem, factor: float) -> bool:
        """Whether the factor is no loss scale (GC503), nor a sign (GC504)."""
        return factor > 0 and not may_be_loss_scale(problem, factor)


def _of_outputs(problem: Problem, factor: float) -> Iterator[Injection]:
    """Yield the term of each output, if there are several."""
    terms = [i for i, term in enumerate(problem.loss.terms) if term is not None and term.weight]
    for index in terms if len(terms) > 1 else ():
        ref = problem.graph.outputs[index]
        name = output_names(problem.model)[index]
        segment = next((s.plan.index for s in problem.segments if ref in s.plan.outputs), None)
        done = f"multiplied by {factor:.4g}" if factor else "left out"
        yield Injection(
            code=TermWeighed.code,
            place=Place(text=f"the loss, output {name}", segment=segment, layer=problem.graph.name(ref)),
            effect=f"the term of {name} in the loss was {done}",
            steps=partial(WeighedTerm, len(problem.loss.terms), index, factor),
        )


class WeighedTerm(HandOff):
    """The hand-off in which the loss of one output has another weight."""

    def __init__(self, count: int, index: int, factor: float) -> None:
        """Multiply the term of the output `index`, one of `count`."""
        self._count, self._index, self._factor = count, index, factor

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Return the same slices with another scale of the term."""
        return [part._replace(scales=self._scales(part.scales)) for part in super().sliced(parts)]

    def _scales(self, scales: Sequence[float | None] | None) -> tuple[float | None, ...]:
        known = (1.0,) * self._count if scales is None else scales
        return tuple(
            scale * self._factor if i == self._index and scale is not None else scale for i, scale in enumerate(known)
        )

"""GC102: a boundary tensor becomes a new constant, so that no cotangent comes back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.interface import EVERYWHERE, Injection, Place, boundaries, boundary
from gradcheck.faults.links import NothingBack, links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.faults.links import Link
    from gradcheck.problem.problem import Problem


class BoundaryDetached:
    """A boundary detached by `.numpy()`, `tf.stop_gradient` or a cast to an integer dtype."""

    code = "GC102"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the boundary and the inputs of each segment, then every boundary; with None, then with zeros."""
        for came, zeros in (("nothing", False), ("zeros", True)):
            known = set()
            for place, what, lost in _detached(problem):
                # In a plain chain the boundary of one segment is the input of the next: the same links once.
                if lost and frozenset(lost) not in known:
                    known.add(frozenset(lost))
                    steps = partial(NothingBack, lost, zeros=zeros)
                    yield Injection(
                        code=self.code, place=place, effect=f"{what} was detached: {came} came back", steps=steps
                    )


def _detached(problem: Problem) -> Iterator[tuple[Place, str, list[Link]]]:
    """Yield the place, the detached tensors in words, and the links that are cut."""
    crossing = links(problem)
    for index in boundaries(problem):
        name = problem.segments[index].plan.name
        yield boundary(problem, index), f"what {name} hands on", [link for link in crossing if link.maker == index]
    for segment in reversed(problem.segments):
        taken = [link for link in crossing if link.taker == segment.plan.index]
        makers = sorted({link.maker for link in taken})
        text = f"boundary {', '.join(map(str, makers))} → {segment.plan.index}"
        yield Place(text=text, segment=max(makers, default=None)), f"what {segment.plan.name} takes", taken
    yield EVERYWHERE, "what every segment but the last hands on", crossing

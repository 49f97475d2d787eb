"""GC102: what crosses a boundary is a new constant, so that nothing comes back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.interface import EVERYWHERE, Fault, Injection, Place, boundaries, boundary
from gradcheck.faults.links import NothingBack, links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.faults.links import Link
    from gradcheck.problem.problem import Problem


class BoundaryDetached(Fault):
    """`.numpy()`, `stop_gradient` or a cast to an integer type between two segments."""

    code = "GC102"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """All that a segment hands on, all that one takes, and everything; None comes back, or zeros in its place."""
        for came, zeros in (("nothing", False), ("zeros", True)):
            known = set()
            for place, what, lost in _detached(problem):
                if lost and frozenset(lost) not in known:
                    known.add(frozenset(lost))
                    steps = partial(NothingBack, lost, zeros=zeros)
                    yield Injection(
                        code=self.code, place=place, effect=f"{what} was detached: {came} came back", steps=steps
                    )


def _detached(problem: Problem) -> Iterator[tuple[Place, str, list[Link]]]:
    """Where, what in words, and the links that it cuts."""
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

"""GC105: the cotangent of one of several crossing tensors, or of one of several consumers, is lost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.interface import EVERYWHERE, Injection, Place
from gradcheck.faults.links import NothingBack, links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.faults.links import Link
    from gradcheck.problem.problem import Problem


class CotangentDropped:
    """A forgotten cotangent of a skip connection, a second output or a state."""

    code = "GC105"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each tensor of several, each consumer of several, and what a loop over segments loses everywhere."""
        crossing = links(problem)
        known = set()
        for lost in _one_of_several(crossing):
            known.add(frozenset(lost))
            yield self._dropped(problem, lost, others=sum(link.ref == lost[0].ref for link in crossing) > len(lost))
        for effect, lost in _in_a_loop(crossing):
            if lost and frozenset(lost) not in known:
                known.add(frozenset(lost))
                yield Injection(code=self.code, place=EVERYWHERE, effect=effect, steps=partial(NothingBack, lost))

    def _dropped(self, problem: Problem, lost: Sequence[Link], *, others: bool) -> Injection:
        maker, _, ref = lost[0]
        name, to = problem.graph.name(ref), ", ".join(str(link.taker) for link in lost)
        who = ", ".join(problem.segments[link.taker].plan.name for link in lost)
        effect = f"{who} handed no cotangent of {name} back" + (", other segments did" if others else "")
        place = Place(text=f"boundary {maker} → {to}, tensor {name}", segment=maker, layer=name)
        return Injection(code=self.code, place=place, effect=effect, steps=partial(NothingBack, lost))


def _one_of_several(crossing: Sequence[Link]) -> Iterator[list[Link]]:
    """Yield the links of one tensor: all of them, if other tensors cross beside it; each one, if there are several."""
    made_last_first = sorted(crossing, key=lambda link: -link.maker)
    for ref in dict.fromkeys(link.ref for link in made_last_first):
        mine = [link for link in crossing if link.ref == ref]
        beside = {link.ref for link in crossing if link.maker == mine[0].maker}
        if len(mine) == 1:
            beside |= {link.ref for link in crossing if link.taker == mine[0].taker}
        if len(beside) > 1:
            yield mine
        if len(mine) > 1:
            yield from ([link] for link in reversed(mine))


def _in_a_loop(crossing: Sequence[Link]) -> Iterator[tuple[str, list[Link]]]:
    """Yield what a loop over segments with a single cotangent loses: the effect in words, and the links."""
    yield (
        "every segment handed a cotangent back to the one before it alone: those of skip connections were dropped",
        [link for link in crossing if link.maker != link.taker - 1],
    )
    made = {link.maker: link.ref for link in sorted(crossing, key=lambda link: link.ref, reverse=True)}
    yield (
        "every segment used the cotangent of the first tensor that it hands on alone",
        [link for link in crossing if link.ref != made[link.maker]],
    )
    taken = {link.taker: link.ref for link in reversed(crossing)}
    yield (
        "every segment handed back the cotangent of the first tensor that it took alone",
        [link for link in crossing if link.ref != taken[link.taker]],
    )

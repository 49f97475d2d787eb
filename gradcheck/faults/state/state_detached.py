"""GC304: the recurrent state, or a part of it, passes from chunk to chunk as a value, and no cotangent comes back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.links import NothingBack, links

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.faults.links import Link
    from gradcheck.problem.problem import Problem


class StateDetached(Fault):
    """Truncated backpropagation through time."""

    code = "GC304"
    nowhere = "no split along time"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each boundary between two chunks, and all of them: the whole state; then one of several states."""
        if problem.time is None:
            return
        chunks = problem.time.chunk_segments
        layer = problem.time.stack.calls[-1].path
        states = [link for link in links(problem) if link.maker in chunks and link.taker in chunks]
        by_name: dict[str, list[Link]] = {}
        for link in states:
            by_name.setdefault(_name(problem, link), []).append(link)
        for names in _parts(list(by_name)):
            what = "its initial state" if len(names) == len(by_name) else f"{' and '.join(names)} of its initial state"
            of_names = [link for link in states if _name(problem, link) in names]
            for number in range(len(chunks) - 1)[::-1]:
                yield Injection(
                    code=self.code,
                    place=Place(text=f"chunk {number} → {number + 1}", segment=chunks[number], layer=layer),
                    effect=f"chunk {number + 1} handed no cotangent of {what} back",
                    steps=partial(NothingBack, [link for link in of_names if link.maker == chunks[number]]),
                )
            if len(chunks) > 2:  # noqa: PLR2004 - two chunks have one boundary
                yield Injection(
                    code=self.code,
                    place=Place(text="every chunk", layer=layer, everywhere=True),
                    effect=f"no chunk handed a cotangent of {what} back: the gradient is truncated at each",
                    steps=partial(NothingBack, of_names),
                )


def _name(problem: Problem, link: Link) -> str:
    """Return the name of a state, which is the same in every chunk: `lstm/state_0` for `lstm/state_0@1`."""
    return problem.graph.name(link.ref).partition("@")[0]


def _parts(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the names of all states; then those of each state, and those of each layer, of several."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition("/")[0], []).append(name)
    yield from dict.fromkeys([tuple(names), *((name,) for name in names), *map(tuple, layers.values())])

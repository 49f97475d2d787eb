"""GC304: the recurrent state passes from chunk to chunk as a value, and no cotangent comes back for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.links import NothingBack, links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem


class StateDetached:
    """Truncated backpropagation through time."""

    code = "GC304"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each boundary between two chunks, and all of them."""
        if problem.time is None:
            return
        chunks = problem.time.chunk_segments
        layer = problem.time.stack.calls[-1].path
        states = [link for link in links(problem) if link.maker in chunks and link.taker in chunks]
        for number in range(len(chunks) - 1)[::-1]:
            lost = [link for link in states if link.maker == chunks[number]]
            yield Injection(
                code=self.code,
                place=Place(text=f"chunk {number} → {number + 1}", segment=chunks[number], layer=layer),
                effect=f"chunk {number + 1} handed no cotangent of its initial state back",
                steps=partial(NothingBack, lost),
            )
        if len(chunks) > 2:  # noqa: PLR2004 - two chunks have one boundary
            yield Injection(
                code=self.code,
                place=Place(text="every chunk", layer=layer, everywhere=True),
                effect="no chunk handed a cotangent of its initial state back: the gradient is truncated at each",
                steps=partial(NothingBack, states),
            )

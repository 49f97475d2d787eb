"""GC401: of a weight that several segments use, only one segment's gradient is kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.places import at_weight, used_weights
from gradcheck.handoff.split import HandOff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem, TensorKey


class TiedWeight:
    """A dictionary of gradients by weight that is overwritten segment by segment, or a layer that was cloned."""

    code = "GC401"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each shared weight with each of its uses alone, then all of them with their first and last use."""
        tied = [weight for weight in used_weights(problem) if len(weight.segments) > 1]
        for weight in tied:
            for index in weight.segments:
                yield Injection(
                    code=self.code,
                    place=at_weight(weight),
                    effect=f"of {weight.path} only the gradient of {problem.segments[index].plan.name} was kept",
                    steps=partial(OneUse, {weight.key: index}),
                )
        if len(tied) > 1:
            for word, chosen in (("first", min), ("last", max)):
                kept = {weight.key: chosen(weight.segments) for weight in tied}
                yield Injection(
                    code=self.code,
                    place=Place(text="every shared weight", everywhere=True),
                    effect=f"of every shared weight only the gradient of the {word} segment that uses it was kept",
                    steps=partial(OneUse, kept),
                )


class OneUse(HandOff):
    """The hand-off in which one segment alone contributes to a shared weight."""

    def __init__(self, kept: Mapping[TensorKey, int]) -> None:
        """Keep the contribution of one segment for each weight in `kept`."""
        self._kept = kept

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        """Return None from all segments but one."""
        return None if self._kept.get(key, segment.plan.index) != segment.plan.index else gradient

"""What a fault is: one known way to get split gradients wrong, and every place where it can sit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.handoff.split import HandOff
    from gradcheck.problem.problem import Problem, TensorKey

    #: Gradients by key; None where there is none.
    Found = dict[TensorKey, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a fault sits.

    Attributes:
        text: in words, such as `boundary 0 → 1`.
        segment: the last segment whose gradients it makes wrong; None where that is not one segment's affair.
        layer: the layer, or the path of the weight, where it is one's.
        everywhere: all places at once: people write loops.
    """

    text: str
    segment: int | None = None
    layer: str | None = None
    everywhere: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Injection:
    """One fault at one place: what to change in a correct split.

    Attributes:
        code: of the fault.
        place: where.
        effect: what went wrong there, as a clause for people: `segment_0 was differentiated with ones …`.
        steps: makes the hand-off with the one step changed; None where the hand-off is right.
        finish: changes the finished gradients, of which it may return a part: the others are as they were.
        slices: the number of micro-batches, where that is not the problem's own.
    """

    code: str
    place: Place
    effect: str
    steps: Callable[[], HandOff] | None = None
    finish: Callable[[Found], Found] | None = None
    slices: int | None = None


class Fault(Protocol):
    """A way to get split gradients wrong."""

    code: str
    #: Why it can sit nowhere in a model, where it cannot: a clause.
    nowhere: str = "nothing in this model could be changed that way"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """The fault at every place where it can sit, in the order of the backward pass, then at all of them at once.

        Nothing where it does not apply to `problem`.
        """
        ...


def boundary(problem: Problem, index: int) -> Place:
    """The hand-off from segment `index` + 1 back to segment `index`: what the latter makes and later ones take."""
    handed = problem.segments[index].plan.outputs
    takers = [s.plan.index for s in problem.segments if set(s.plan.inputs) & set(handed)]
    taken = [ref for ref in handed if any(ref in problem.segments[taker].plan.inputs for taker in takers)]
    floating = [ref for ref in taken if str(problem.graph.spec(ref).dtype).startswith(("float", "bfloat", "complex"))]
    to = ", ".join(map(str, takers)) or str(index + 1)
    layer = problem.graph.name((floating or taken or list(handed))[-1])
    return Place(text=f"boundary {index} → {to}", segment=index, layer=layer)


def boundaries(problem: Problem) -> list[int]:
    """The segments that hand something on to a later one, from the last to the first."""
    taken = {ref for segment in problem.segments for ref in segment.plan.inputs}
    handing = [s.plan.index for s in problem.segments if taken & set(s.plan.outputs)]
    return handing[::-1]


EVERYWHERE = Place(text="every boundary", everywhere=True)

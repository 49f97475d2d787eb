"""The interface of a fault: a known mistake in a split model's gradients, and every place where it can occur."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from gradcheck.handoff.split import HandOff
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.training.steps import Compute, Trainee, Update

    #: Gradients by key; None where there is none.
    Found = dict[TensorKey, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a fault.

    Attributes:
        text: the place in words, such as `boundary 0 → 1`.
        segment: the last segment whose gradients it makes wrong; None if it affects several segments independently.
        layer: the layer, or the path of the weight, if the fault concerns one.
        everywhere: whether it stands for all places at once, as a mistake in a loop does.
    """

    text: str
    segment: int | None = None
    layer: str | None = None
    everywhere: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Injection:
    """One fault at one place: the change of a correct split.

    Attributes:
        code: the code of the fault.
        place: the place of the fault.
        effect: what went wrong there, as a clause for people: `segment_0 was differentiated with ones …`.
        steps: makes a hand-off with one wrong step; None if the hand-off is correct.
        finish: maps the finished gradients to the changed ones; it may leave out those that stay as they are.
        slices: the number of micro-batches, if it is not the problem's own.
        advice: returns what to do about it on this model, if that is not what the catalogue advises.
    """

    code: str
    place: Place
    effect: str
    steps: Callable[[], HandOff] | None = None
    finish: Callable[[Found], Found] | None = None
    slices: int | None = None
    advice: Callable[[], str | None] = lambda: None


class Fault(Protocol):
    """A known mistake in a split model's gradients."""

    code: str
    #: Why it can sit nowhere in a model, where it cannot: a clause.
    nowhere: str = "nothing in this model could be changed that way"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault at every place, in the order of the backward pass, then at all places at once.

        Yield nothing if the fault does not apply to `problem`.
        """
        ...


@runtime_checkable
class ScalingFault(Fault, Protocol):
    """A fault that multiplies something by a number, which may be any: the observed gradients tell it."""

    def injections_with(self, problem: Problem, factor: float) -> Iterator[Injection]:
        """Yield the fault with `factor` at every place, in one order whatever the factor; 1 is right, 0 leaves out."""
        ...

    def fits(self, problem: Problem, factor: float) -> bool:
        """Whether `factor`, which is neither 0 nor 1, can be that of this fault."""
        ...


class TrainingFault(Protocol):
    """A known mistake in a training loop whose hand-off between segments is right."""

    code: str
    #: The mistake, as a clause of a message.
    effect: str
    #: Why the fault has no place in a run, in a message.
    nowhere: str = "no training steps"
    #: The way of training that it is a mistake in; "" for any loop.
    way: str = ""
    #: Whether each segment has an optimizer of its own.
    own: bool = False
    #: The place of the fault; None if it is the loop itself.
    place: Place | None = None

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether the fault can change anything within `steps` training steps."""
        ...

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return the training step with this fault, which takes its gradients from `compute`.

        Called once for each training run: a step may keep gradients for the next one.
        """
        ...

    def calls(self, trainee: Trainee) -> int | None:  # noqa: ARG002 - for those that tell
        """Return how often optimizers are called in a step; None if that tells nothing."""
        return None

    def keeps(self, trainee: Trainee) -> Collection[int]:  # noqa: ARG002 - for those that tell
        """Return the indices of weights that the first step leaves as they should be."""
        return ()


def boundary(problem: Problem, index: int) -> Place:
    """Return the place where later segments send cotangents back to segment `index`."""
    handed = problem.segments[index].plan.outputs
    takers = [s.plan.index for s in problem.segments if set(s.plan.inputs) & set(handed)]
    taken = [ref for ref in handed if any(ref in problem.segments[taker].plan.inputs for taker in takers)]
    # A tensor that can have a gradient names the place best: integers and masks cross without a cotangent.
    floating = [ref for ref in taken if str(problem.graph.spec(ref).dtype).startswith(("float", "bfloat", "complex"))]
    to = ", ".join(map(str, takers)) or str(index + 1)
    layer = problem.graph.name((floating or taken or list(handed))[-1])
    return Place(text=f"boundary {index} → {to}", segment=index, layer=layer)


def boundaries(problem: Problem) -> list[int]:
    """Return the indices of the segments whose outputs a later one takes, from the last to the first."""
    taken = {ref for segment in problem.segments for ref in segment.plan.inputs}
    handing = [s.plan.index for s in problem.segments if taken & set(s.plan.outputs)]
    return handing[::-1]


EVERYWHERE = Place(text="every boundary", everywhere=True)

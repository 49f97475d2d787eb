"""GC302, GC303 and GC605: a second forward pass that differs from the first one, or that is not undone."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.building.state import Moment, Snapshot, is_seed, movable_variables
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.places import at_segments
from gradcheck.faults.state.forward_twice import ForwardTwice, WholeModelBefore
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.handoff.split import HandOff, MicroBatchPasses
from gradcheck.keras_private import all_layers
from gradcheck.methods.by_segment.recompute import Recomputing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.places import Change
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem


def moved(problem: Problem) -> dict[int, list[Any]]:
    """Return the variables that a forward pass through each segment changes, by segment; it runs one to find them.

    None of a loss that calls the model itself: nothing is recomputed there.
    """
    found: dict[int, list[Any]] = {}
    if problem.loss.of_model is not None:
        return found
    with problem.state.preserved():
        passes = MicroBatchPasses(problem, micro_batches(problem, batch_tensors(problem))[0], HandOff(), {})
        for segment in problem.segments:
            start = Snapshot(movable_variables([segment]))
            passes.forward(segment)
            found[segment.plan.index] = start.changed(start.variables)
    return found


class OfRecomputation(Fault):
    """The base of these faults. `ways` are effects with their hand-offs; `random` ones need a seed that changes."""

    ways: tuple[tuple[str, type[WrongAgain]], ...]
    random = False

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each way at each segment with the state that it needs, at all of these, and at all but the last.

        The last segment's backward pass follows its forward pass at once: few users recompute it.
        """
        moving = moved(problem)
        where = [index for index in sorted(moving, reverse=True) if self._applies(moving[index])]
        earlier, most = frozenset(where) - {len(problem.segments) - 1}, "every segment but the last"
        for effect, change in self.ways:
            yield from at_segments(problem, self.code, partial(change, problem), effect, where)
            if 1 < len(earlier) < len(where):
                yield Injection(
                    code=self.code,
                    place=Place(text=most, everywhere=True),
                    effect=effect.format(most),
                    steps=partial(change, problem, earlier),
                )
        yield from self.forward_twice(problem, moving)

    def forward_twice(self, problem: Problem, moving: Mapping[int, Sequence[Any]]) -> Iterator[Injection]:  # noqa: ARG002 - for subclasses
        """Yield ways that do not recompute, but run forward passes twice; `moving` is what these change by segment."""
        return iter(())

    def _applies(self, variables: Sequence[Any]) -> bool:
        return any(map(is_seed, variables)) if self.random else bool(variables)


class WrongAgain(Recomputing):
    """The hand-off with recomputation, wrong in some segments."""

    changes_forward = True

    def __init__(self, problem: Problem, at: Collection[int]) -> None:
        """Recompute the segments with the indices `at` wrongly."""
        super().__init__(problem)
        self._at = at

    @contextmanager
    def rewound(self, done: Pass) -> Iterator[None]:
        """Rewind the variables, wrongly in some segments."""
        with self.wrongly_rewound(done) if done.segment.plan.index in self._at else super().rewound(done):
            yield

    def wrongly_rewound(self, done: Pass) -> Any:
        """Rewind the variables of a segment with the fault; subclasses override this."""
        return super().rewound(done)


class OneMoreForward(WrongAgain):
    """One more forward pass, whose gradients are not used."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Rewind correctly, then run the forward pass again, which changes the state."""
        with super().wrongly_rewound(done):
            yield
        self.forward(done.segment, done.inputs, training=self._training)


class SeedsNotRewound(WrongAgain):
    """A second pass that draws new random numbers; other variables are rewound, and the state afterwards is right."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Rewind all variables but the seeds, and none of Python's own generators, which a `Moment` includes."""
        now, start = Moment(movable_variables([done.segment])), self._starts.pop(done)
        Snapshot.put_back(start, [variable for variable in start.variables if not is_seed(variable)])
        yield
        now.put_back()


class NotRewound(WrongAgain):
    """A second pass that starts where the first one ended; the state afterwards is right."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Skip the rewinding; undo the second pass."""
        now = Moment(movable_variables([done.segment]))
        yield
        now.put_back()


class NeitherRewoundNorUndone(WrongAgain):
    """A second pass that starts where the first one ended and changes the state again, as `tf.recompute_grad` does."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:  # noqa: ARG002 - as the others
        """Skip the rewinding, and do not undo the second pass."""
        yield


class OtherModeAgain(WrongAgain):
    """A second pass in the other mode."""

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:
        """Return the record of the second pass, with the other training flag."""
        right = self._training
        self._training = right != (done.segment.plan.index in self._at)
        again = super().forward_record(done, cotangents)
        self._training = right
        return again


class OtherModeFromThere(OtherModeAgain):
    """A second pass in the other mode, which starts where the first one ended."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Skip the rewinding; undo the second pass."""
        now = Snapshot(movable_variables([done.segment]))
        yield
        now.put_back()


class StateUpdatedTwice(OfRecomputation):
    """State that is updated twice: statistics move two steps, seeds advance twice.

    Gradients are right, unless the additional pass comes first: then they are those of the second random draws.
    """

    code = "GC302"
    nowhere = "no forward pass moves any state"
    ways = (("{} ran forward once more than the step has, and moved its state twice", OneMoreForward),)

    def forward_twice(self, problem: Problem, moving: Mapping[int, Sequence[Any]]) -> Iterator[Injection]:
        """Yield one more pass of each segment that draws numbers, just before its own; then one of the whole model."""
        effect = "{} ran forward once before its own pass, which drew the second random numbers"
        yield from at_segments(problem, self.code, _twice(1, 1), effect, _drawing(moving))
        # Statistics alone change nothing in the step: there this is a forward pass too many, as above.
        if _drawing(moving) or any(map(_is_stateful, problem.segments)):
            for by_slice in (False, True) if problem.slices else (False,):
                over = "each micro-batch" if by_slice else "the batch"
                yield Injection(
                    code=self.code,
                    place=Place(text="every segment", everywhere=True),
                    effect=f"all segments ran forward over {over} once before the step, which started from their state",
                    steps=partial(WholeModelBefore, problem, by_slice=by_slice),
                )


class DropoutDrawnAfresh(OfRecomputation):
    """New random numbers in the second pass: gradients of another network than the cotangent."""

    code = "GC303"
    nowhere = "nothing is random"
    ways = (
        ("the second forward pass of {} drew new random numbers", SeedsNotRewound),
        ("the second forward pass of {} drew new random numbers, and its state moved twice", NeitherRewoundNorUndone),
    )
    random = True

    def forward_twice(self, problem: Problem, moving: Mapping[int, Sequence[Any]]) -> Iterator[Injection]:
        """Yield two passes of which one is recorded, and the other's outputs are sent on."""
        effect = "{} ran forward twice: the first draw was recorded by the tape, and the second one's outputs sent on"
        yield from at_segments(problem, self.code, _twice(1, 0), effect, _drawing(moving))
        if problem.slices:  # in a single piece it is a second pass in the backward pass, whose state moved twice
            effect = "{} ran forward twice: the outputs of the first draw were sent on, and the second recorded"
            yield from at_segments(problem, self.code, _twice(0, 1), effect, _drawing(moving))


def _is_stateful(segment: Segment) -> bool:
    """Whether a recurrent layer of `segment` goes on from the state of the previous call."""
    return any(getattr(layer, "stateful", False) for layer in all_layers(segment.used_layers))


def _twice(sent: int, recorded: int) -> Change:
    return partial(ForwardTwice, sent=sent, recorded=recorded)


def _drawing(moving: Mapping[int, Sequence[Any]]) -> list[int]:
    """Return the segments that draw random numbers, from the last to the first."""
    return [index for index in sorted(moving, reverse=True) if any(map(is_seed, moving[index]))]


class RecomputationDiffers(OfRecomputation):
    """A second forward pass from a state that the first one changed, or in another mode."""

    code = "GC605"
    ways = (
        ("the second forward pass of {} started from the state that the first one left", NotRewound),
        ("the second forward pass of {} started from the first one's state and moved it on", NeitherRewoundNorUndone),
        ("the second forward pass of {} ran with another training flag", OtherModeAgain),
        ("the second forward pass of {} ran with another flag, from the state that the first left", OtherModeFromThere),
    )

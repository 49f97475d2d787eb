"""GC302, GC303 and GC605: a second forward pass that is not the first one over again, or that is not undone."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.state import Moment, Snapshot, movable_variables
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.places import at_segments
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.handoff.split import HandOff, MicroBatchPasses
from gradcheck.methods.by_segment.recompute import Recomputing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem


def moved(problem: Problem) -> dict[int, list[Any]]:
    """The variables that a forward pass through each segment moves, found by making one."""
    found = {}
    with problem.state.preserved():
        passes = MicroBatchPasses(problem, micro_batches(problem, batch_tensors(problem))[0], HandOff(), {})
        for segment in problem.segments:
            start = Snapshot(movable_variables([segment]))
            passes.forward(segment)
            found[segment.plan.index] = start.changed(start.variables)
    return found


def is_seed(variable: Any) -> bool:
    """Whether it is the state of a generator: Keras keeps no other integers that a pass moves."""
    return not tf.as_dtype(variable.dtype).is_floating


class OfRecomputation(Fault):
    """The base of these faults: their ways, each with its effect, and whether they need a seed to be moved."""

    ways: tuple[tuple[str, type[WrongAgain]], ...]
    random = False

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Each way, at each segment that moves what it needs, at all of them, and at all that are not the last one.

        The last segment's forward pass and its backward pass follow one another: few recompute it.
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

    def _applies(self, variables: Sequence[Any]) -> bool:
        return any(map(is_seed, variables)) if self.random else bool(variables)


class WrongAgain(Recomputing):
    """The hand-off with recomputation, wrong in some segments."""

    changes_forward = True

    def __init__(self, problem: Problem, at: Collection[int]) -> None:
        """`at` are the indices of the segments."""
        super().__init__(problem)
        self._at = at

    @contextmanager
    def rewound(self, done: Pass) -> Iterator[None]:
        """As it is, but for some segments."""
        with self.wrongly_rewound(done) if done.segment.plan.index in self._at else super().rewound(done):
            yield

    def wrongly_rewound(self, done: Pass) -> Any:
        """The fault."""
        return super().rewound(done)


class OneMoreForward(WrongAgain):
    """A further forward pass, whose gradients nobody asks for."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """As it is; then the state moves on."""
        with super().wrongly_rewound(done):
            yield
        self.forward(done.segment, done.inputs, training=self._training)


class SeedsNotRewound(WrongAgain):
    """The second pass draws on; everything else is as it was at the start, and the state afterwards is right."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Without the seeds, and without Python's own generators, which the start holds beside its variables."""
        now, start = Moment(movable_variables([done.segment])), self._starts.pop(done)
        Snapshot.put_back(start, [variable for variable in start.variables if not is_seed(variable)])
        yield
        now.put_back()


class NotRewound(WrongAgain):
    """The second pass starts where the first one ended; the state afterwards is right."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Without going back."""
        now = Moment(movable_variables([done.segment]))
        yield
        now.put_back()


class NeitherRewoundNorUndone(WrongAgain):
    """The second pass starts where the first one ended, and moves the state on: `tf.recompute_grad`."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:  # noqa: ARG002 - as the others
        """Nothing at all."""
        yield


class OtherModeAgain(WrongAgain):
    """The second pass runs in the other mode."""

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:
        """As it is, with the other flag."""
        right = self._training
        self._training = right != (done.segment.plan.index in self._at)
        again = super().forward_record(done, cotangents)
        self._training = right
        return again


class OtherModeFromThere(OtherModeAgain):
    """The second pass runs in the other mode, and starts where the first one ended."""

    @contextmanager
    def wrongly_rewound(self, done: Pass) -> Iterator[None]:
        """Without going back."""
        now = Snapshot(movable_variables([done.segment]))
        yield
        now.put_back()


class StateUpdatedTwice(OfRecomputation):
    """Gradients are right; statistics moved two steps, and seeds advanced twice."""

    code = "GC302"
    nowhere = "no forward pass moves any state"
    ways = (("{} ran forward once more than the step has, and moved its state twice", OneMoreForward),)


class DropoutDrawnAfresh(OfRecomputation):
    """The gradients belong to another network than the cotangent."""

    code = "GC303"
    nowhere = "nothing is random"
    ways = (
        ("the second forward pass of {} drew new random numbers", SeedsNotRewound),
        ("the second forward pass of {} drew new random numbers, and its state moved twice", NeitherRewoundNorUndone),
    )
    random = True


class RecomputationDiffers(OfRecomputation):
    """The second forward pass starts from a state that the first one moved, or runs in another mode."""

    code = "GC605"
    ways = (
        ("the second forward pass of {} started from the state that the first one left", NotRewound),
        ("the second forward pass of {} started from the first one's state and moved it on", NeitherRewoundNorUndone),
        ("the second forward pass of {} ran with another training flag", OtherModeAgain),
        ("the second forward pass of {} ran with another flag, from the state that the first left", OtherModeFromThere),
    )

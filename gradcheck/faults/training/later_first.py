"""GC305 within a step: a cotangent that is computed with weights that the step has already updated."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from gradcheck.faults.interface import EVERYWHERE, TrainingFault, boundary
from gradcheck.faults.training.apart import Held, SegmentUpdates, can_count_apart, first_users
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.interface import Gradients
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.handoff.split import HandOff, loss_gradients, split
from gradcheck.handoff.tensors import divided
from gradcheck.keras_private import logits_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Place
    from gradcheck.handoff.interface import Computed, Tensors
    from gradcheck.handoff.split import LossGradients, Pass
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.training.steps import Compute, Trainee, Update

    Found = Mapping[TensorKey, Any]


class UpdatedBetween(HandOff):
    """A hand-off in which segments get new weights before they hand back: a second pass gives the cotangents."""

    changes_forward = True

    def __init__(
        self, problem: Problem, tensors: Tensors, inside: Collection[int], update: Callable[[int, Found], None]
    ) -> None:
        """Call `update` with the index of each segment in `inside` and the right gradients of its weights."""
        self._problem, self._inside, self._update = problem, inside, update
        (self._part,) = micro_batches(problem, tensors)
        self._values: dict[TensorRef, Any] = {}
        self._at_loss: LossGradients | None = None

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """Keep the outputs, of which some are the model's."""
        done = super().run(segment, inputs, training=training)
        self._values.update(zip(segment.plan.outputs, done.outputs, strict=True))
        return done

    def loss_cotangents(self, at_loss: LossGradients) -> LossGradients:
        """Keep the loss's gradients, in which those of new outputs take the place of the old ones."""
        self._at_loss = at_loss
        return at_loss

    def pull_back(self, done: Pass, targets: Sequence[Any], seeds: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
        """Return the gradients of the weights as they were, and of the inputs as the new weights have them."""
        found = super().pull_back(done, targets, seeds, sources)
        index, weights = done.segment.plan.index, self._problem.counterparts
        if index not in self._inside:
            return found
        self._update(index, {weights[id(s)].key: g for s, g in zip(sources, found, strict=True) if id(s) in weights})
        again = self.run(done.segment, done.inputs, training=self._problem.training)
        new = {id(done.added_loss): again.added_loss}
        for before, after in zip(done.outputs, again.outputs, strict=True):
            new |= {id(logits_of(before)): logits_of(after), id(before): after}
        seeds = self._renewed(seeds)
        handed = super().pull_back(again, [new[id(target)] for target in targets], seeds, again.inputs)
        return [*handed, *found[len(handed) :]]

    def _renewed(self, seeds: Sequence[Any]) -> list[Any]:
        """Return the seeds with the loss's gradients for the outputs as they are now."""
        old = self._at_loss
        new = loss_gradients(self._problem, self._part, [self._values[r] for r in self._problem.graph.outputs], self)
        if old is None:
            raise AssertionError("a backward pass before the loss")
        pairs = [*zip(old.seeds, new.seeds, strict=True), *((old.hidden[ref], new.hidden[ref]) for ref in new.hidden)]
        renewed = {id(before): after for before, after in pairs if before is not None}
        return [renewed.get(id(seed), seed) for seed in seeds]


@dataclass(frozen=True, kw_only=True)
class LaterFirst(TrainingFault):
    """Segments are updated before the cotangents for earlier ones are computed.

    Attributes:
        updated: the groups of weights (as in `by_segment`) that are updated first, from the last to the first.
        place: the boundary.
        own: whether each segment has an optimizer of its own.
        whole: whether everything runs again after that, and not each updated segment on what it was given at first.
    """

    code = "GC305"
    updated: tuple[int, ...]
    place: Place
    own: bool
    whole: bool

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        how = "each with an optimizer of its own" if self.own else "with one optimizer"
        return f"the cotangent at {self.place.text} was computed with weights that were already updated, {how}"

    def calls(self, trainee: Trainee) -> int:
        """Return how often optimizers are called in a step."""
        return len(self._groups(trainee))

    def keeps(self, trainee: Trainee) -> Collection[int]:
        """Return the weights that are updated first, with their right gradients, unless these are clipped together."""
        return () if trainee.global_clipnorm else self._groups(trainee)[0]

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether there is any step; the update within a backward pass is for the batch as a whole."""
        return steps > 0 and (self.whole or not trainee.problem.slices)

    def _groups(self, trainee: Trainee) -> list[list[int]]:
        """Return the weights of each call of an optimizer, in order."""
        segments = trainee.by_segment()
        others = [group for i, group in enumerate(segments) if i not in self.updated][::-1]
        first = [segments[i] for i in self.updated]
        if self.own:
            return [*first, *others]
        together = [first, others] if self.whole else [*([group] for group in first), others]
        return [list(chain.from_iterable(groups)) for groups in together]

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step that updates these segments first."""
        users, apart = first_users(trainee), SegmentUpdates(trainee, own=self.own)
        groups, earlier = self._groups(trainee), users[min(self.updated)]
        count = len(self.updated) if self.own or not self.whole else 1

        def again(problem: Problem) -> Gradients:
            held, first = Held(problem), compute(problem)
            for group in groups[:count]:
                apart.apply(problem, first, group)
            held.rewind(earlier)
            second = compute(problem)
            for group in groups[count:]:
                apart.apply(problem, second, group)
            return first

        def between(problem: Problem) -> Gradients:
            left = iter(groups)

            def updated(_: int, found: Found) -> None:
                tensors = {key: divided(gradient, problem.loss_scale) for key, gradient in found.items()}
                apart.apply(problem, _only(tensors, problem), next(left))

            found = updated_between(problem, {users[i] for i in self.updated}, updated)
            for group in left:
                apart.apply(problem, found, group)
            return found

        def update(problem: Problem, _: Any) -> Gradients:
            found = again(problem) if self.whole else between(problem)
            apart.ended()
            return found

        return update


def updated_between(problem: Problem, inside: Collection[int], update: Callable[[int, Found], None]) -> Gradients:
    """Return the gradients of an `UpdatedBetween` hand-off over the whole batch."""

    def body(here: Problem, tensors: Tensors) -> Computed:
        return split(here, tensors, UpdatedBetween(here, tensors, inside, update))

    return Execution(problem, body, execution="eager")()


def _only(tensors: Found, problem: Problem) -> Gradients:
    """Return gradients of some weights, and None for the others."""
    every = {weight.key: tensors.get(weight.key) for weight in problem.weights}
    return Gradients(loss=None, outputs=(), tensors=every, state={}, seconds=0.0)


def later_first(trainee: Trainee) -> Iterator[TrainingFault]:
    """Yield the mistake at each boundary between segments with weights, then at all, from the last to the first."""
    users = first_users(trainee)
    later = list(range(1, len(users)))[::-1]
    for own in [True, False] if can_count_apart(trainee) else [False]:
        for cut in later:
            place = boundary(trainee.problem, users[cut - 1])
            yield LaterFirst(updated=(cut,), place=place, own=own, whole=bool(trainee.problem.slices))
            if cut < later[0]:
                together = tuple(one for one in later if one >= cut)
                yield LaterFirst(updated=together, place=place, own=own, whole=True)
        if len(later) > 1:
            yield LaterFirst(updated=tuple(later), place=EVERYWHERE, own=own, whole=False)

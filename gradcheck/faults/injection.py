"""Gradients of a correct split with one fault injected. Passes that several faults share are computed once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.batch.slices import make_slices
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.handoff.interface import Gradients
from gradcheck.handoff.microbatches import accumulated, joined, micro_batches
from gradcheck.handoff.split import HandOff, MicroBatchPasses, split
from gradcheck.handoff.tensors import scaled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.interface import Computed, Tensors
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.handoff.split import Pass, SoFar
    from gradcheck.problem.problem import Problem, TensorKey


@dataclass(frozen=True, kw_only=True)
class Replay(Gradients):
    """Gradients of a split with a fault.

    Attributes:
        beside: the replays that it is one of: their `right` ran as this split did, and differs by the fault alone.
    """

    beside: Replays


class Replays:
    """Correct splits of a problem, into which faults are injected.

    A fault of the backward pass alone reuses the forward passes of the correct split, whose tapes are kept. A fault in
    the finished gradients reuses the gradients. Everything runs eagerly; each run starts from the problem's snapshot,
    which is restored afterwards.
    """

    def __init__(self, problem: Problem) -> None:
        """Store the problem; compute nothing yet."""
        self._problem = problem
        self._sliced: dict[int | None, Problem] = {None: problem}
        self._forward_passes: dict[int | None, _SharedPasses] = {}

    @cached_property
    def right(self) -> Gradients:
        """The gradients of the correct split."""
        return self._all(None, HandOff()) if self._of_model else self._backward(None, HandOff())

    @property
    def eager(self) -> Replays:
        """Themselves: `TracedReplays` have others."""
        return self

    @property
    def _of_model(self) -> bool:
        """Whether the loss calls the model itself: there are no passes that end before the loss, to be shared."""
        return self._problem.loss.of_model is not None

    @property
    def forward_passes(self) -> Sequence[Pass]:
        """The forward passes of the correct split; none where the loss calls the model."""
        return () if self._of_model else self._passes(None).forward_passes

    def gradients(self, injection: Injection) -> Replay:
        """Return the gradients of the split with this fault."""
        if injection.steps is None and injection.slices is None:
            found = self.right
        else:
            steps = injection.steps() if injection.steps else HandOff()
            if steps.changes_forward or self._of_model:
                found = self._all(injection.slices, steps)
            else:
                at = injection.place.segment
                found = self._backward(injection.slices, steps, steps.last if at is None else at)
        if injection.finish is not None:
            found = replace(found, tensors={**found.tensors, **injection.finish(dict(found.tensors))})
        return Replay(**vars(found), beside=self)

    def _all(self, slices: int | None, steps: HandOff) -> Gradients:
        """Run the forward and the backward passes with `steps`, over `slices` micro-batches."""

        def body(problem: Problem, tensors: Tensors) -> Computed:
            return split(problem, tensors, steps)

        return Execution(self._problem_in(slices), body, execution="eager")()

    def _backward(self, slices: int | None, steps: HandOff, last: int | None = None) -> Gradients:
        """Run the backward passes with `steps` on the tapes of the correct forward passes.

        `last` is the last segment whose gradients `steps` change, None if that is not known.
        """
        passes = self._passes(slices)
        return passes.backward_on_shared_tapes(steps, last) if steps.changed else passes.right

    def _passes(self, slices: int | None) -> _SharedPasses:
        if slices not in self._forward_passes:
            self._forward_passes[slices] = _SharedPasses(self._problem_in(slices))
        return self._forward_passes[slices]

    def _problem_in(self, slices: int | None) -> Problem:
        """Return the problem over `slices` micro-batches; None for as many as it has itself."""
        if slices not in self._sliced:
            problem, count = self._problem, slices or 1
            with problem.state.preserved():
                made = make_slices(count, problem.model, problem.batch, problem.loss, training=problem.training)
            self._sliced[slices] = replace(problem, slices=made if count > 1 else ())
        return self._sliced[slices]


#: Steps that change a segment's seeds or weights; `cross` belongs to the forward pass, and is in classes that do both.
OF_ONE_SEGMENT = frozenset({"cotangent", "contribution", "cross", "drive"})
#: Steps that may change what comes back from a segment that takes what the other hands on.
OF_TAKERS = frozenset({"forward_record", "input_cotangent", "pull_back"})


class Behind(NamedTuple):
    """What backward passes of some segments give: gradients of weights, and the state of each micro-batch's passes."""

    weights: Mapping[TensorKey, Any]
    passes: Sequence[SoFar]


class _SharedPasses:
    """The forward passes of a correct split on persistent tapes, for any number of backward passes."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        tensors, steps = batch_tensors(problem), _Kept()
        self._loss_scale = tensors.loss_scale
        unused: dict[Any, Any] = {}
        with problem.state.preserved():
            self._all_passes = [
                MicroBatchPasses(problem, part, steps, unused) for part in micro_batches(problem, tensors)
            ]
            steps.drive(problem, self._all_passes, only="forward")
            self._state: Mapping[str, Any] = problem.state.read()

    @property
    def forward_passes(self) -> Sequence[Pass]:
        """The recorded passes, of all micro-batches."""
        return [done for passes in self._all_passes for done in passes.recorded]

    def backward_on_shared_tapes(self, steps: HandOff, last: int | None) -> Gradients:
        """Run the backward passes with `steps`, but for those that are right behind segment `last`, where they start.

        What they leave alone are the tensors of `right` themselves.
        """
        parts = steps.sliced([passes.part for passes in self._all_passes])
        factors = self._factors(parts) if steps.changed == {"sliced"} and len(parts) > 1 else None
        shared = None if last is None else self._last_changed(steps, last)
        behind = None if shared is None else self._behind[shared]
        weights = self._nothing if behind is None else dict(behind.weights)
        results = list(self._weighed(factors, weights)) if factors else self._run(parts, steps, weights, behind)
        found = joined(results, weights, self._loss_scale)
        return Gradients(
            loss=found.loss, outputs=found.outputs, tensors=found.gradients, state=self._state, seconds=0.0
        )

    def _run(
        self, parts: Sequence[MicroBatch], steps: HandOff, weights: dict[TensorKey, Any], behind: Behind | None
    ) -> list[Computed]:
        all_passes = [
            passes.sharing_tapes(part, steps, weights, so_far=behind and behind.passes[i])
            for i, (passes, part) in enumerate(zip(self._all_passes, parts, strict=True))
        ]
        steps.drive(self._problem, all_passes, only="backward")
        return [passes.result for passes in all_passes]

    @property
    def _nothing(self) -> dict[TensorKey, Any]:
        return {weight.key: None for weight in self._problem.weights}

    def _last_changed(self, steps: HandOff, last: int) -> int | None:
        """Return the last segment whose backward pass `steps` change at segment `last`; None if it may be any."""
        if steps.changed <= OF_ONE_SEGMENT:
            return last
        if not steps.changed <= OF_ONE_SEGMENT | OF_TAKERS:
            return None
        handed_on = {ref for segment in self._problem.segments[: last + 1] for ref in segment.plan.outputs}
        return max(s.plan.index for s in self._problem.segments if s.plan.index == last or handed_on & {*s.plan.inputs})

    @cached_property
    def right(self) -> Gradients:
        """The gradients of the correct split."""
        return self.backward_on_shared_tapes(HandOff(), None)

    @cached_property
    def _behind(self) -> dict[int, Behind]:
        """What the right backward passes of all segments behind one give, by its index."""
        found, weights = {}, self._nothing
        all_passes = [passes.sharing_tapes(passes.part, HandOff(), weights) for passes in self._all_passes]
        for segment in reversed(self._problem.segments):
            whole = {} if self._loss_scale is not None else self._given_behind(segment.plan.index)
            found[segment.plan.index] = Behind({**weights, **whole}, [passes.so_far for passes in all_passes])
            for passes in all_passes:
                passes.backward(segment)
        return found

    def _given_behind(self, index: int) -> dict[TensorKey, Any]:
        """Return the right gradients of the weights that segments behind one alone use."""
        weights = (weight for weight in self._problem.weights if min(weight.segments, default=0) > index)
        return {weight.key: self.right.tensors[weight.key] for weight in weights}

    def _factors(self, parts: Sequence[MicroBatch]) -> list[float] | None:
        """Return the one factor of each micro-batch, on all that its loss is made of; None if it has not one alone."""
        factors = [p.factor_of(part) for p, part in zip(self._all_passes, parts, strict=True)]
        known = [factor for factor in factors if factor is not None]
        return known if len(known) == len(factors) else None

    def _weighed(self, factors: Sequence[float], weights: dict[TensorKey, Any]) -> Iterator[Computed]:
        """Yield the results of the micro-batches times `factors`, and add the gradients of the weights to `weights`.

        Gradients are linear in the loss: these faults are sums of gradients that are computed once.
        """
        for (found, of_weights), factor in zip(self._apart, factors, strict=True):
            accumulated(weights, ((key, scaled(g, factor)) for key, g in of_weights.items() if factor))
            gradients = {key: scaled(g, factor) for key, g in found.gradients.items()}
            yield found._replace(loss=scaled(found.loss, factor), gradients=gradients)

    @cached_property
    def _apart(self) -> list[tuple[Computed, dict[TensorKey, Any]]]:
        """The results of each micro-batch, and what it gives to the weights' gradients."""
        found = []
        for passes in self._all_passes:
            weights = self._nothing
            again = passes.sharing_tapes(passes.part, HandOff(), weights)
            HandOff().drive(self._problem, [again], only="backward")
            found.append((again.result, weights))
        return found


class _Kept(HandOff):
    """The correct hand-off with persistent tapes."""

    persistent = True

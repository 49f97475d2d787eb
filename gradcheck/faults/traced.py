"""Replays whose deep segments are traced: to start their operations takes longer than to compute them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck.building.draws import has_generators
from gradcheck.cutting.segment import SegmentFunction
from gradcheck.faults.injection import Replay, Replays
from gradcheck.handoff.hand_off import HandOff
from gradcheck.keras_private import logits_of, mask_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.hand_off import Pass
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem

#: The least number of calls in a segment that is traced: tracing takes as long as dozens of backward passes.
DEEP = 20
#: Steps that change tensors on their way from one segment to another.
BETWEEN_SEGMENTS = frozenset({"cross", "cotangent", "input_cotangent"})


class TracedReplays:
    """Replays for many faults of one problem, as `Replays` gives them up to rounding: see `Replay.beside`.

    What changes segments from inside runs eagerly, and what leaves an output of a traced segment without a cotangent;
    everything does if the traced segments have other gradients. So does what changes the forward pass where
    TensorFlow's generator has to be restarted for it, for then every function is prepared anew.
    """

    def __init__(self, problem: Problem, agrees: Callable[[Replays], bool]) -> None:
        """Store the problem; compute nothing yet.

        `agrees` tells whether the correct split of traced replays is as right as the eager one, and differs from that
        by rounding alone.
        """
        self._problem, self._agrees, self.eager = problem, agrees, Replays(problem)
        self._functions: dict[Segment, SegmentFunction] = {}

    @cached_property
    def right(self) -> Gradients:
        """The gradients of the correct split, which runs eagerly."""
        return self.eager.right

    def gradients(self, injection: Injection) -> Replay:
        """Return the gradients of the split with this fault."""
        if self._traced is not None and self._runs_traced(injection):
            # NoCotangent, or what the user's code raises where it is traced; it may raise it eagerly too.
            with suppress(Exception), self._segments_traced():
                return self._traced.gradients(injection)
        return self.eager.gradients(injection)

    def _runs_traced(self, injection: Injection) -> bool:
        steps = injection.steps() if injection.steps else HandOff()
        if steps.changes_forward and (has_generators() or not steps.changed <= BETWEEN_SEGMENTS):
            return False
        return injection.slices is None

    @cached_property
    def _traced(self) -> Replays | None:
        """The replays on traced segments; None if there are none, or if these give something else."""
        traced = Replays(self._problem)
        try:
            passes = [] if self._problem.slices else self.eager.forward_passes
            self._functions = {p.segment: SegmentFunction(p.segment, p.outputs) for p in passes if _is_traceable(p)}
            if not self._functions:
                return None
            with self._segments_traced():
                _ = traced.right
        except Exception:  # noqa: BLE001 - the user's code may raise anything where it is traced
            return None
        return traced if self._agrees(traced) else None

    @contextmanager
    def _segments_traced(self) -> Iterator[None]:
        with ExitStack() as after:
            for segment, function in self._functions.items():
                after.callback(setattr, segment, "function", None)
                segment.function = function
            yield


def _is_traceable(done: Pass) -> bool:
    """Whether a segment is deep, here, and hides nothing: masks, logits and added losses are no function's outputs."""
    hidden = any(mask_of(t) is not None or logits_of(t) is not None for t in (*done.inputs, *done.outputs))
    deep = len(done.segment.plan.calls) >= DEEP and not done.segment.device
    return deep and not hidden and done.added_loss is None

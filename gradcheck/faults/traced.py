"""Replays whose deep segments are traced: to start their operations takes longer than to compute them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.cutting.segment import SegmentFunction
from gradcheck.faults.injection import Replays
from gradcheck.handoff.hand_off import NoCotangent
from gradcheck.keras_private import logits_of, mask_of
from gradcheck.numerics import PRECISIONS, largest, movement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.hand_off import Pass
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem

#: The least number of calls in a segment that is traced: tracing takes as long as dozens of backward passes.
DEEP = 20
#: Gradients below this share of the largest may be rounding alone.
SMALL = 1e-3


class TracedReplays:
    """Replays for many faults of one problem, as `Replays` gives them up to rounding.

    Backward passes alone are traced: a forward pass starts from the snapshot, and to restart TensorFlow's generator
    costs every function its preparation. A fault that leaves an output of a traced segment without a cotangent runs
    eagerly, and so does everything if the traced segments have other gradients.
    """

    def __init__(self, problem: Problem) -> None:
        """Store the problem; compute nothing yet."""
        self._problem, self._eager = problem, Replays(problem)
        self._functions: dict[Segment, SegmentFunction] = {}

    @property
    def right(self) -> Gradients:
        """The gradients of the correct split."""
        return (self._traced or self._eager).right

    def gradients(self, injection: Injection) -> Gradients:
        """Return the gradients of the split with this fault."""
        forward = injection.steps is not None and injection.steps().changes_forward
        if self._traced is not None and not forward and injection.slices is None:
            with suppress(NoCotangent), self._segments_traced():
                return self._traced.gradients(injection)
        return self._eager.gradients(injection)

    @cached_property
    def _traced(self) -> Replays | None:
        """The replays on traced segments; None if there are none, or if these give something else."""
        expected, traced = self._eager.right, Replays(self._problem)
        passes = [] if self._problem.slices else self._eager.forward_passes
        self._functions = {p.segment: SegmentFunction(p.segment, p.outputs) for p in passes if _is_traceable(p)}
        if not self._functions:
            return None
        try:
            with self._segments_traced():
                found = traced.right
        except Exception:  # noqa: BLE001 - the user's code may raise anything where it is traced
            return None
        if not _agree(self._problem, found, expected):
            return None
        self._eager = Replays(self._problem)  # frees its tapes, which few faults need
        return traced

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


def _agree(problem: Problem, one: Gradients, other: Gradients) -> bool:
    """Whether two runs of the correct split are equal up to rounding, None and sparse gradients included."""
    share = PRECISIONS[compute_dtype(problem.precision)].eps ** 0.5  # far above rounding, and far below any mistake
    arrays = {key: (as_array(tensor), as_array(other.tensors[key])) for key, tensor in one.tensors.items()}
    small = SMALL * max((largest(array) for array, _ in arrays.values()), default=0.0)
    return all(
        type(array) is type(there) and movement(array, there) <= share * max(largest(array), small)
        for array, there in arrays.values()
    )

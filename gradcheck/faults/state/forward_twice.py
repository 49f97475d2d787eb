"""Hand-offs in which forward passes run twice before the backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import MicroBatch
from gradcheck.handoff.split import HandOff, MicroBatchPasses

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.split import Pass
    from gradcheck.problem.problem import Problem


class ForwardTwice(HandOff):
    """The hand-off in which some segments run forward twice, one time after the other."""

    changes_forward = True

    def __init__(self, at: Collection[int], *, sent: int, recorded: int) -> None:
        """Run the segments with the indices `at` twice; of pass 0 or 1 send the outputs, and differentiate one."""
        self._at, self._sent, self._recorded = at, sent, recorded
        self._records: dict[Pass, Pass] = {}

    def run(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        """Return the record of the pass whose outputs are sent; keep that of the other."""
        if segment.plan.index not in self._at:
            return super().run(segment, inputs, training=training)
        # Copies, for attention takes the masks off what it is given.
        first = super().run(segment, [copied(tensor) for tensor in inputs], training=training)
        both = first, super().run(segment, inputs, training=training)
        self._records[both[self._sent]] = both[self._recorded]
        return both[self._sent]

    def forward_record(self, done: Pass, cotangents: Sequence[Any]) -> Pass:
        """Return the record of the pass that is differentiated."""
        return super().forward_record(self._records.pop(done, done), cotangents)


class WholeModelBefore(HandOff):
    """The hand-off after one more forward pass of all segments."""

    changes_forward = True

    def __init__(self, problem: Problem, *, by_slice: bool) -> None:
        """Run the segments of `problem` over each micro-batch if `by_slice`, otherwise over the batch in one piece."""
        self._problem, self._by_slice = problem, by_slice

    def sliced(self, parts: list[MicroBatch]) -> list[MicroBatch]:
        """Run all segments forward, and return the micro-batches."""
        before = parts if self._by_slice else [MicroBatch(batch_tensors(self._problem))]
        all_passes = [MicroBatchPasses(self._problem, part, HandOff(), {}) for part in before]
        super().drive(self._problem, all_passes, only="forward")
        return super().sliced(parts)

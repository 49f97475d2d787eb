"""The order in which micro-batches go forward and backward through the segments, as the stages of a pipeline.

`gpipe` (Huang et al., 2019): every forward pass, then every backward pass. `1f1b` (Narayanan et al., "PipeDream",
2019): a stage takes in as many micro-batches as there are stages from it to the last, and from then on goes back with
one before it takes in the next, so that it never holds the activations of more than that many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradcheck.results.schedule import ScheduleReport, StageReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Work(NamedTuple):
    """One micro-batch in one stage: its forward pass, or its backward pass."""

    stage: int
    microbatch: int
    backward: bool

    def __str__(self) -> str:
        """F0 is the forward pass of micro-batch 0, B0 its backward pass."""
        return f"{'B' if self.backward else 'F'}{self.microbatch}"


def order(schedule: str, stages: int, microbatches: int) -> tuple[Work, ...]:
    """Return all work in an order in which each piece follows the pieces that it needs.

    Stages run beside one another on machines of their own; here they run one after another. Of all the orders that
    give each stage its own, this is the one in which a micro-batch passes every stage before the next one starts. So a
    layer that several stages share is moved (its seed, its statistics) in the order of the whole model.
    """
    forward = [Work(s, m, backward=False) for m in range(microbatches) for s in range(stages)]
    backward = [Work(s, m, backward=True) for m in range(microbatches) for s in reversed(range(stages))]
    done = dict.fromkeys(work for due in map(_DUE[schedule](stages), forward) for work in due)
    return tuple({**done, **dict.fromkeys(backward)})


def _gpipe(stages: int) -> Callable[[Work], Iterator[Work]]:  # noqa: ARG001 - as the others
    """Return the rule of `gpipe`: no backward pass is due before a forward pass."""
    return lambda forward: iter((forward,))


def _one_forward_one_backward(stages: int) -> Callable[[Work], Iterator[Work]]:
    """Return the rule of `1f1b`: a full stage goes back with its oldest micro-batch before it takes another."""

    def due(forward: Work) -> Iterator[Work]:
        oldest = forward.microbatch - (stages - forward.stage)
        if oldest >= 0:
            yield Work(forward.stage, oldest, backward=True)
        yield forward

    return due


_DUE: dict[str, Callable[[int], Callable[[Work], Iterator[Work]]]] = {
    "gpipe": _gpipe,
    "1f1b": _one_forward_one_backward,
}


def schedule_report(name: str, work: Iterable[Work], stages: int) -> ScheduleReport:
    """Return the work of each stage, and of how many micro-batches it holds activations at most."""
    of_stage: list[list[Work]] = [[] for _ in range(stages)]
    for piece in work:
        of_stage[piece.stage].append(piece)
    return ScheduleReport(
        name=name,
        microbatches=len(of_stage[0]) // 2,
        stages=tuple(
            StageReport(segment=stage, work=tuple(map(str, pieces)), peak_activations=_peak(pieces))
            for stage, pieces in enumerate(of_stage)
        ),
    )


def _peak(pieces: Iterable[Work]) -> int:
    """Return the largest number of forward passes that wait for their backward pass."""
    held = most = 0
    for piece in pieces:
        held += -1 if piece.backward else 1
        most = max(most, held)
    return most

"""Words for training steps and micro-batches. Plain text, safe on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.parts.text import inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.results.report import CheckReport, SegmentReport, TensorReport
    from gradcheck.results.schedule import ScheduleReport, StageReport


def step(tensor: TensorReport) -> str:
    """Return the training step and the quantity, as `2 gradient` or `2 value`; `-` outside training."""
    parts = (None if tensor.step is None else str(tensor.step), tensor.quantity)
    return " ".join(part for part in parts if part) or "-"


def has_steps(tensors: Iterable[TensorReport]) -> bool:
    """Whether any of `tensors` belongs to a training step."""
    return any(step(tensor) != "-" for tensor in tensors)


def label(tensor: TensorReport) -> str:
    """Return the unique name of a tensor of its kind: its path, in training `dense/kernel (gradient, step 2)`."""
    parts = (tensor.quantity, None if tensor.step is None else f"step {tensor.step}")
    found = ", ".join(part for part in parts if part)
    return inline(tensor.path) + (f" ({found})" if found else "")


def first_wrong(check: CheckReport) -> str:
    """Return `first wrong in step 2 of 5`; empty if no training step fails."""
    if check.first_failing_step is None:
        return ""
    return f"first wrong in step {check.first_failing_step} of {max(check.steps, check.first_failing_step)}"


def schedule_heading(schedule: ScheduleReport) -> str:
    """Return a heading such as `gpipe, 4 micro-batches (F forward, B backward)`."""
    count = plural(schedule.microbatches, "micro-batch", "micro-batches")
    return f"{inline(schedule.name)}, {count} (F forward, B backward)"


def stage_line(stage: StageReport, segments: Sequence[SegmentReport], room: int | None = None) -> str:
    """Return a line such as `stage 0 conv: F0 F1 B0 F2 B1 B2; at most 2 live`.

    If `room` is given, long work is shortened in the middle to fit so many characters.
    """
    name = next((f" {inline(segment.name)}" for segment in segments if segment.index == stage.segment), "")
    before, after = f"stage {stage.segment}{name}: ", f"; at most {stage.peak_activations} live"
    left = None if room is None else room - len(before) - len(after)
    return before + _work([inline(item) for item in stage.work], left) + after


def _work(items: list[str], room: int | None) -> str:
    """Return the items, or as many of the first and the last as fit, each of them whole."""
    whole = " ".join(items)
    if room is None or len(whole) <= room:
        return whole
    ends = (" ".join([*items[:keep], "...", *items[-keep:]]) for keep in range(len(items) // 2, 0, -1))
    return next((text for text in ends if len(text) <= room), "...")

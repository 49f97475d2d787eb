"""The growth of errors over the steps of a training run, as lines on a logarithmic scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.charts.scales import LogScale, log_scale
from gradcheck.reporters.parts.text import number

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport

WIDTH, HEIGHT = 360, 220
LEFT, TOP, RIGHT, BOTTOM = 52, 14, 350, 180
#: What is drawn: the field of a step, and its name in the legend.
QUANTITIES = {
    "gradients": "gradients", "weights": "weights", "optimizer": "optimizer", "state": "state",
    "outputs": "outputs", "loss": "loss",
}  # fmt: skip


@dataclass(frozen=True)
class StepLine:
    """One quantity: its place in `QUANTITIES`, the path of its line, and its largest error in words."""

    place: int
    name: str
    path: str
    largest: str


@dataclass(frozen=True, kw_only=True)
class StepLines:
    """The lines of all quantities that differ. `ticks` are the x and number of the labelled steps."""

    lines: tuple[StepLine, ...]
    scale: LogScale
    ticks: tuple[tuple[float, int], ...]
    first_failing: float | None
    label: str


def step_lines(check: CheckReport) -> StepLines | None:
    """Return the lines; None if there are fewer than two steps, or nothing differs in any of them."""
    steps = check.by_step
    scale = log_scale(getattr(step, name) for step in steps for name in QUANTITIES)
    if scale is None or len(steps) < 2:  # noqa: PLR2004 - a line has two ends
        return None
    last = steps[-1].step

    def x(step: int) -> float:
        return round(LEFT + (RIGHT - LEFT) * (step - 1) / max(last - 1, 1), 1)

    lines = []
    for place, (name, title) in enumerate(QUANTITIES.items()):
        known = [(step.step, getattr(step, name)) for step in steps if not math.isnan(getattr(step, name))]
        largest = max((value for _, value in known), default=0.0)
        if largest > 0:
            points = (f"{x(step)} {round(BOTTOM - (BOTTOM - TOP) * scale.at(value), 1)}" for step, value in known)
            lines.append(StepLine(place, title, "M" + "L".join(points), number(largest)))
    failing, every = check.first_failing_step, max(1, -(-last // 8))
    return StepLines(
        lines=tuple(lines),
        scale=scale,
        ticks=tuple((x(step), step) for step in range(1, last + 1, every)),
        first_failing=None if failing is None else x(failing),
        label=f"Largest relative errors over {plural(len(steps), 'step')}: "
        + ", ".join(f"{line.name} up to {line.largest}" for line in lines),
    )

"""Scales of charts: a value as a share of the axis, from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class LogScale:
    """From 10^low to 10^high; zero is at the lower end, infinity at the upper one."""

    low: int
    high: int

    def at(self, value: float) -> float:
        """Return the place of `value`, which is not negative; a value beyond an end is at that end."""
        if not value > 0:
            return 0.0
        inside = min(max(math.log10(value), self.low), self.high) if math.isfinite(value) else self.high
        return (inside - self.low) / (self.high - self.low)

    @property
    def ends(self) -> tuple[str, str]:
        """The lowest and the highest value in words."""
        return f"1e{self.low:+03d}", f"1e{self.high:+03d}"


def log_scale(values: Iterable[float]) -> LogScale | None:
    """Return the scale of whole powers of ten that holds all positive finite `values`; None if there are none."""
    logs = [math.log10(value) for value in values if value > 0 and math.isfinite(value)]
    if not logs:
        return None
    low = math.floor(min(logs))
    return LogScale(low, max(low + 1, math.ceil(max(logs))))

"""Frozen record of one step of a training run: how far the two sides are apart after it."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One training step, from 1.

    Attributes:
        step: its number.
        compared, failing: the number of tensors that were compared, and of those that fail.
        gradients, weights, optimizer, state, outputs, loss: the largest max_rel_error of these tensors; NaN if there
            are none, or none has a finite figure. `weights` are those after the update.
    """

    step: int
    compared: int
    failing: int
    gradients: float = math.nan
    weights: float = math.nan
    optimizer: float = math.nan
    state: float = math.nan
    outputs: float = math.nan
    loss: float = math.nan

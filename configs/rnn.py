"""A batch for `rnn_case0.yaml` to `rnn_case5.yaml`: sequences in which the same three steps come twice."""

from __future__ import annotations

import numpy as np


def twice(units: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sequences of 6 steps with 4 features each, the last 3 steps equal to the first, and targets (2, units)."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(2, 3, 4))
    return np.concatenate([half, half], axis=1).astype("float32"), rng.normal(size=(2, units)).astype("float32")

"""GC607: Jacobians of each example by itself change a segment that couples examples, and no other by one bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Study

#: Dense layers before batch norm have biases whose gradients are rounding alone.
CONFIG = """
    precision: {precision}
    model:
      input: {{shape: [4]}}
      layers:
        - Dense: {{units: 4, name: first}}
        - BatchNormalization: {{name: norm}}
        - Dense: {{units: 3, activation: tanh, name: second}}
        - BatchNormalization: {{name: last}}
    split: {{every: layer}}
    data: {{batch_size: 6}}
"""


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_what_does_not_couple_examples_is_left_as_it_is(study: Callable[[str], Study], precision: str) -> None:
    found = study(CONFIG.format(precision=precision))
    right = found.weights()
    changed = {}
    for injection in found.injections("GC607"):
        weights = found.weights(injection)
        changed[injection.place.text] = any(not np.array_equal(weights[path], right[path]) for path in right)
    assert changed == {"segment 1": True, "segment 2": False, "segment 3": True}

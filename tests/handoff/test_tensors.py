"""Multiplying and dividing gradients: dense, sparse, none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.handoff.tensors import divided, scaled

DENSE = tf.constant([[1.0, -2.0], [0.0, 3.0]], tf.float16)
SPARSE = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([2, 2]), tf.constant([3, 2]))


@pytest.mark.parametrize(("step", "by", "factor"), [(scaled, 4.0, 4.0), (divided, tf.constant(0.5), 2.0)])
def test_values_change_and_the_form_stays(step: Any, by: Any, factor: float) -> None:
    dense = step(DENSE, by)
    assert dense.dtype == tf.float16
    assert np.array_equal(dense.numpy(), factor * DENSE.numpy())
    sparse = step(SPARSE, by)
    assert isinstance(sparse, tf.IndexedSlices)
    assert np.array_equal(sparse.values.numpy(), factor * SPARSE.values.numpy())
    assert sparse.indices is SPARSE.indices
    assert step(None, by) is None


@pytest.mark.parametrize("step", [scaled, divided])
def test_none_is_one(step: Any) -> None:
    assert step(DENSE, None) is DENSE


def test_a_number_is_not_rounded_to_float32() -> None:
    found = scaled(tf.constant(1.0, tf.float64), 2 / 3)
    assert found.dtype == tf.float64
    assert found.numpy() == 2 / 3

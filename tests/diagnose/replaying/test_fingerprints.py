"""Two numbers of a gradient are no further apart than gradients are, and alike where these differ by rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradcheck.diagnose.replaying.fingerprints import BLOCKS, alike, block_means, imprint, nearly_alike


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (None, (0.0, 0.0)),
        (tf.constant(2.0), (2.0, 2.0)),
        (tf.constant([3.0, 4.0]), (5.0, 3.0)),
        (tf.constant([4.0, 3.0]), (5.0, 4.0)),
        (tf.constant([-3.0, -4.0]), (5.0, -3.0)),
        (tf.zeros((0, 3)), (0.0, 0.0)),
        (tf.IndexedSlices(tf.ones((2, 1)), tf.constant([1, 1]), tf.constant([4, 1])), (2.0, 2**0.5)),
    ],
)
def test_the_norm_and_half_of_a_gradient(tensor: Any, expected: tuple[float, float]) -> None:
    assert imprint(tensor) == pytest.approx(expected)


@given(arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e3, 1e3)), st.data())
def test_imprints_are_no_further_apart_than_tensors(one: np.ndarray[Any, Any], data: st.DataObject) -> None:
    other = data.draw(arrays(np.float64, one.shape, elements=st.floats(-1e3, 1e3)))
    apart = np.linalg.norm(one - other) * (1 + 1e-9) + 1e-9
    assert all(abs(a - b) <= apart for a, b in zip(imprint(one), imprint(other), strict=True))


@given(st.data())
def test_means_of_blocks_are_no_further_apart_than_elements(data: st.DataObject) -> None:
    shape = data.draw(st.sampled_from([(), (3,), (9, 20)]))
    one, other = (data.draw(arrays(np.float32, shape, elements=st.floats(-8, 8, width=32))) for _ in range(2))
    left, right = block_means(one), block_means(other)
    assert len(left) == min(BLOCKS, one.size)
    assert np.abs(left - right).max() <= np.abs(one.astype(np.float64) - other).max() + 1e-9


@pytest.mark.parametrize("eps", [2.0**-52, 2.0**-23, 2.0**-7])
def test_two_runs_are_told_apart_where_two_ways_are_not(eps: float) -> None:
    """Also a gradient that is zero but for rounding, beside a large one."""
    one = np.array([[2.0, 1.0], [1e-9, 1e-9]])
    for other in (one * (1 + 5e-4), one * [[1.0], [-1.0]]):
        assert not alike(one, other, eps).all()
        assert nearly_alike(one, other, eps).all()
    assert alike(one, one * (1 + min(5e-6, 5e4 * eps)), eps).all()
    assert nearly_alike(one, one * (1 + 0.1), eps).tolist() == [False, True]
    assert nearly_alike(np.stack([one, -one]), one, eps).tolist() == [[True, True], [False, True]]

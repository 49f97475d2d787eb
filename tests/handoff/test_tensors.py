"""What every method does with gradients and losses, dense, sparse, ragged or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.handoff.tensors import (
    added,
    dense,
    divided,
    gradients_of,
    is_differentiable,
    scaled,
    summed,
    total_loss,
    watch,
)

DENSE = tf.constant([[1.0, -2.0], [0.0, 3.0]], tf.float16)
SPARSE = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0]]), tf.constant([2, 2]), tf.constant([3, 2]))


@pytest.mark.parametrize(
    ("step", "by", "factor"), [(scaled, 4.0, 4.0), (scaled, tf.constant(4.0), 4.0), (divided, tf.constant(0.5), 2.0)]
)
def test_values_change_and_the_form_stays(step: Any, by: Any, factor: float) -> None:
    dense = step(DENSE, by)
    assert dense.dtype == tf.float16
    assert np.array_equal(dense.numpy(), factor * DENSE.numpy())
    sparse = step(SPARSE, by)
    assert isinstance(sparse, tf.IndexedSlices)
    assert np.array_equal(sparse.values.numpy(), factor * SPARSE.values.numpy())
    assert sparse.indices is SPARSE.indices
    assert sparse.dense_shape is SPARSE.dense_shape
    assert step(None, by) is None


@pytest.mark.parametrize("step", [scaled, divided])
def test_none_is_one(step: Any) -> None:
    assert step(DENSE, None) is DENSE


def test_sparse_gradients_stay_sparse_where_both_are() -> None:
    other = tf.IndexedSlices(tf.constant([[5.0, 6.0]]), tf.constant([0]), tf.constant([3, 2]))
    both = added(SPARSE, other)
    assert isinstance(both, tf.IndexedSlices)
    assert both.indices.numpy().tolist() == [2, 2, 0]
    assert both.values.numpy().tolist() == [[1, 2], [3, 4], [5, 6]]
    total = [[5, 6], [0, 0], [4, 6]]
    assert dense(both).numpy().tolist() == total
    for first, second in ((SPARSE, dense(other)), (dense(SPARSE), other), (dense(SPARSE), dense(other))):
        assert added(first, second).numpy().tolist() == total


def test_none_is_no_gradient() -> None:
    assert added(None, DENSE) is added(DENSE, None) is DENSE
    assert added(None, None) is dense(None) is None
    assert dense(DENSE) is DENSE


def test_what_layers_add_to_the_loss_is_summed_whole_and_in_its_dtype() -> None:
    losses = [tf.constant([1.0, 2.0]), tf.constant(4.0, tf.float64), tf.constant(8.0, tf.float16)]
    assert (summed(losses).dtype, float(summed(losses))) == (tf.float32, 15.0)
    assert summed([]) is None
    data = tf.constant(100.0, tf.float64)
    assert [float(total_loss(data, losses, share)) for share in (None, 1.0, 0.25, 0.0)] == [115.0, 115.0, 103.75, 100.0]
    assert total_loss(data, losses).dtype == tf.float64
    assert total_loss(data, [], 0.25) is data


SPARSE_INPUT = tf.SparseTensor([[0, 0]], [1.0], [2, 2])


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64, tf.complex64])
def test_floats_and_complex_numbers_have_gradients(dtype: Any) -> None:
    assert is_differentiable(tf.zeros(2, dtype))


@pytest.mark.parametrize("tensor", [tf.constant(1), tf.constant(True), tf.constant("a"), SPARSE_INPUT])  # noqa: FBT003
def test_nothing_else_has(tensor: Any) -> None:
    assert not is_differentiable(tensor)


def test_gradients_of_what_is_watched() -> None:
    x, whole, ragged = tf.constant([3.0, 5.0]), tf.constant([1, 2]), tf.ragged.constant([[2.0], [4.0, 6.0]])
    with tf.GradientTape() as tape:
        watch(tape, [whole, x, SPARSE_INPUT, ragged])
        y, z = x**2, tf.reduce_sum(ragged.flat_values**3)
    seeds = [tf.constant([1.0, 10.0]), tf.constant(1.0)]
    found = gradients_of(tape, [y, z], [whole, x, SPARSE_INPUT, ragged.flat_values], seeds)
    assert [None if g is None else g.numpy().tolist() for g in found] == [None, [6.0, 100.0], None, [12.0, 48.0, 108.0]]


def test_where_nothing_is_asked_for_no_tape_is_needed() -> None:
    none: Any = None
    assert gradients_of(none, [], [tf.constant(1.0)], []) == gradients_of(none, [DENSE], [tf.constant(1)]) == [None]


@pytest.mark.parametrize("seed", [None, tf.ones(3), tf.ones(2, tf.float64), tf.ones(())])
def test_a_seed_that_does_not_fit_is_refused(seed: Any) -> None:
    """TensorFlow takes None for ones, and any shape and dtype without a word."""
    x = tf.constant([3.0, 5.0])
    with tf.GradientTape() as tape:
        watch(tape, [x])
        y = x**2
    with pytest.raises(AssertionError, match="does not fit its target"):
        gradients_of(tape, [y], [x], [seed])


def test_a_number_is_not_rounded_to_float32() -> None:
    found = scaled(tf.constant(1.0, tf.float64), 2 / 3)
    assert found.dtype == tf.float64
    assert found.numpy() == 2 / 3

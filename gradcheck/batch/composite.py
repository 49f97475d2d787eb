"""Ragged and sparse tensors in a batch: conversions for an input, and defaults for a ragged or sparse one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf

from gradcheck.config.keyed import KeyedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Composite: TypeAlias = tf.RaggedTensor | tf.SparseTensor
    Values: TypeAlias = NDArray[Any] | Composite

#: The share of the elements of a sparse default that are not zero.
DENSITY = 0.25


def is_composite(value: Any) -> bool:
    """Whether `value` is a ragged or sparse tensor, which is no NumPy array."""
    return isinstance(value, (tf.RaggedTensor, tf.SparseTensor))


def as_values(what: str, value: Any) -> Values:
    """Return `value` as an array; a ragged or sparse tensor unchanged.

    Raises:
        KeyedError: GC030 for rows of unequal length that are no ragged tensor.
    """
    if is_composite(value):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:  # NumPy's error for nested lists of unequal length
        message = f"{what} has rows of unequal length. Received: a {type(value).__name__}"
        help_ = "give tf.ragged.constant(rows), for an input of keras.Input(..., ragged=True), or pad the rows"
        raise KeyedError(message, code="GC030", help=help_) from error


def dense(what: str, value: Values) -> NDArray[Any]:
    """Return `value`, which must be an array.

    Raises:
        KeyedError: GC030 for a ragged or sparse tensor.
    """
    if is_composite(value):
        message = f"{what} must be an array. Received: {described_values(value)}"
        raise KeyedError(message, code="GC030", help="no loss takes rows of unequal length: pad them, or give a mean")
    return value


def described_values(value: Values) -> str:
    """Describe `value` for an error message: `a RaggedTensor of shape (3, None) and dtype int32`."""
    return f"a {type(value).__name__} of shape {tuple(value.shape)} and dtype {tf.as_dtype(value.dtype).name}"


def first_rows_of(what: str, value: Composite, count: int, *, sparse: bool) -> Values:
    """Return the first `count` rows; those of a sparse tensor as an array, unless `sparse`.

    Keras passes a sparse tensor to a dense input as a dense one.

    Raises:
        KeyedError: GC030 if there are fewer.
    """
    rows = int(value.nrows() if isinstance(value, tf.RaggedTensor) else value.dense_shape[0])
    if rows < count:
        message = f"batch_size is {count}. Received: {rows} rows for {what}"
        raise KeyedError(message, code="GC030", help="lower data.batch_size, or give more data")
    if isinstance(value, tf.RaggedTensor):
        return value[:count]
    ordered = tf.sparse.reorder(value)
    first = tf.sparse.slice(ordered, [0] * len(value.shape), [count, *ordered.dense_shape[1:]])
    return first if sparse else tf.sparse.to_dense(first).numpy()


def with_values(value: Composite, convert: Callable[[NDArray[Any]], tf.Tensor]) -> Composite:
    """Return `value` with its stored values replaced by `convert` of them."""
    if isinstance(value, tf.RaggedTensor):
        return value.with_flat_values(convert(value.flat_values.numpy()))
    return tf.SparseTensor(value.indices, convert(value.values.numpy()), value.dense_shape)


def composed(array: NDArray[Any], like: Any, rng: np.random.Generator) -> Values:
    """Return a default for `like` from `array`: rows of unequal length if it is ragged, mostly zeros if sparse."""
    if getattr(like, "ragged", False) and array.ndim > 1:  # Keras has ragged inputs since 3.10
        lengths = rng.integers(1, array.shape[1] + 1, len(array))
        return tf.RaggedTensor.from_tensor(array, lengths=lengths)
    if like.sparse:
        return tf.sparse.from_dense(array * (rng.random(array.shape) < DENSITY))
    return array

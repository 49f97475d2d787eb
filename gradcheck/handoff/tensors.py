"""Operations on tensors, gradients and losses that every method shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops  # variables that no variable creator of the user's sees

from gradcheck.building.precision import loss_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def unseen_variable(dtype: tf.DType) -> Any:
    """Return a variable of any shape, without a value, that a function may make whenever it is traced."""
    with tf.init_scope():
        return resource_variable_ops.UninitializedVariable(
            dtype=dtype, shape=tf.TensorShape(None), trainable=False, name="gradcheck"
        )


def is_differentiable(tensor: Any) -> bool:
    """Whether a gradient with respect to `tensor` can exist: a float or complex dtype, and no `tf.SparseTensor`."""
    return not isinstance(tensor, tf.SparseTensor) and bool(tensor.dtype.is_floating or tensor.dtype.is_complex)


def watch(tape: Any, tensors: Sequence[Any]) -> None:
    """Have `tape` watch the tensors that can have a gradient."""
    floating = [tensor for tensor in tensors if is_differentiable(tensor)]
    tape.watch([tensor.flat_values if isinstance(tensor, tf.RaggedTensor) else tensor for tensor in floating])


def dense(gradient: Any) -> Any:
    """Return an `IndexedSlices` as a dense tensor, and any other tensor unchanged."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def added(first: Any, second: Any) -> Any:
    """Return the sum of two gradients. None is no gradient; the sum of two sparse gradients is sparse."""
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, tf.IndexedSlices) and isinstance(second, tf.IndexedSlices):
        return tf.IndexedSlices(
            values=tf.concat([first.values, second.values], 0),
            indices=tf.concat([first.indices, second.indices], 0),
            dense_shape=first.dense_shape,
        )
    return dense(first) + dense(second)


def summed(losses: Sequence[Any]) -> Any:
    """Return the sum of the losses that layers add, as Keras forms it (each summed, in the loss's dtype), or None."""
    return tf.add_n([tf.reduce_sum(tf.cast(loss, loss_dtype())) for loss in losses]) if losses else None


def total_loss(data_loss: Any, losses: Sequence[Any], share: float | None = None) -> Any:
    """Return the data loss plus `share` (None: all) of the losses that layers add, in the data loss's dtype."""
    extra = summed(losses)
    if extra is None:
        return data_loss
    extra = tf.cast(extra, data_loss.dtype)
    return data_loss + (extra if share is None else share * extra)


def scaled(gradient: Any, factor: Any) -> Any:
    """Return a tensor or gradient times a number or a scalar tensor, in its own dtype; a factor of None is 1.

    A sparse gradient stays sparse, and None stays None.
    """
    if gradient is None or factor is None:
        return gradient
    # tf.cast would take a Python number through float32.
    exact = isinstance(factor, (int, float))
    return _with_values(gradient, lambda values: values * (factor if exact else tf.cast(factor, values.dtype)))


def divided(gradient: Any, divisor: Any) -> Any:
    """Return a gradient divided by a scalar tensor, as `scaled` multiplies it."""
    if gradient is None or divisor is None:
        return gradient
    return _with_values(gradient, lambda values: values / tf.cast(divisor, values.dtype))


def _with_values(gradient: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(change(gradient.values), gradient.indices, gradient.dense_shape)
    return change(gradient)


def gradients_of(
    tape: tf.GradientTape, targets: Sequence[Any], sources: Sequence[Any], seeds: Sequence[Any] | None = None
) -> list[Any]:
    """`tape.gradient` that says None for a source no float can flow to, and checks every seed.

    TensorFlow takes a seed of None as ones, and a seed of the wrong shape or dtype without a word.
    """
    if seeds is not None:
        for target, seed in zip(targets, seeds, strict=True):
            if seed is None or seed.dtype != target.dtype or not seed.shape.is_compatible_with(target.shape):
                raise AssertionError(f"seed {seed!r} does not fit its target {target!r}")
    wanted = [i for i, source in enumerate(sources) if is_differentiable(source)]
    found: list[Any] = [None] * len(sources)
    if targets and wanted:
        values = tape.gradient(list(targets), [sources[i] for i in wanted], output_gradients=seeds)
        for i, value in zip(wanted, values, strict=True):
            found[i] = value
    return found

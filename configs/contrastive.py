"""The normalised, temperature-scaled cross-entropy of SimCLR (Chen et al., 2020), in micro-batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

SLICES = 2


def nt_xent(temperature: float = 0.5) -> Callable[[Any, Any], Any]:
    """A function of all targets, which it does without, and both embeddings."""

    def loss(y: Any, outputs: Any) -> Any:
        del y
        left, right = (tf.math.l2_normalize(output, axis=-1) for output in outputs)
        both = tf.concat([left, right], axis=0)
        count = left.shape[0]
        alike = tf.matmul(both, both, transpose_b=True) / temperature
        alike -= 1e9 * tf.eye(2 * count, dtype=alike.dtype)  # an example is no pair with itself
        partner = tf.concat([tf.range(count, 2 * count), tf.range(count)], axis=0)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=partner, logits=alike))

    return loss


def slices_of(check: Any) -> list[list[Any]]:
    """The micro-batches of both views."""
    return list(zip(*(tf.split(view, SLICES) for view in check.x), strict=True))


def gradients(check: Any) -> Any:
    """The loss and its gradients: embeddings slice by slice, their cotangents over all, then slice by slice again."""
    parts = slices_of(check)
    made = [check.model(list(part)) for part in parts]
    outputs = [tf.concat(views, axis=0) for views in zip(*made, strict=True)]
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        loss = check.loss(check.y, outputs)
    cotangents = zip(*(tf.split(g, SLICES) for g in tape.gradient(loss, outputs)), strict=True)
    total = [tf.zeros(v.shape) for v in check.variables]
    for part, seeds in zip(parts, cotangents, strict=True):
        with tf.GradientTape() as tape:
            embeddings = check.model(list(part))
        found = tape.gradient(embeddings, check.variables, output_gradients=list(seeds))
        total = [one + other for one, other in zip(total, found, strict=True)]
    return loss, total


def per_slice(check: Any) -> Any:
    """The mean of the slices' losses: each example has its own slice's negatives alone."""
    with tf.GradientTape() as tape:
        losses = [check.loss(check.y, check.model(list(part))) for part in slices_of(check)]
        loss = tf.add_n(losses) / SLICES
    return loss, tape.gradient(loss, check.variables)

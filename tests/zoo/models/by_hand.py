"""A split by hand for models of one chain: right, or with each segment's forward pass made once too often."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def gradients(check: Any, *, twice: bool = False) -> Any:
    """The loss and the gradients, one tape per segment; `twice` runs every segment once more before it counts."""
    passes, x = [], check.x
    for segment in check.segments:
        if twice:
            segment(x, training=check.training)
        with tf.GradientTape() as tape:
            x = tf.identity(x)
            tape.watch(x)
            y = segment(x, training=check.training)
        passes.append((segment, tape, x, y))
        x = y
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = check.loss(check.y, x)
    cotangent, found = tape.gradient(loss, x), {}
    for segment, tape, x, y in reversed(passes):
        variables = segment.trainable_variables
        values = [variable.value for variable in variables]
        cotangent, *of_weights = tape.gradient(y, [x, *values], output_gradients=cotangent)
        found |= {variable.path: gradient for variable, gradient in zip(variables, of_weights, strict=True)}
    return loss, found

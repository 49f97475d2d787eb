"""A layer with a gradient of its own."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@tf.custom_gradient
def log1pexp(x: Any) -> Any:
    """log(1 + exp(x)), and its derivative 1 - 1 / (1 + exp(x)), which stays finite where exp(x) overflows."""
    e = tf.exp(x)

    def grad(upstream: Any) -> Any:
        return upstream * (1 - 1 / (1 + e))

    return tf.math.log1p(e), grad


class Softplus(keras.layers.Layer):
    """log(1 + exp(x)) of each element."""

    def call(self, x: Any) -> Any:
        """The same shape as `x`."""
        return log1pexp(x)

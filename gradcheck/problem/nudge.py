"""Tensors moved by rounding alone, to see how far that moves what is computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def nudged_tensor(tensor: Any, rng: np.random.Generator, eps: float) -> Any:
    """Return `tensor` with every element multiplied by 1+eps or 1-eps."""
    if isinstance(tensor, tf.RaggedTensor):
        return tensor.with_flat_values(nudged_tensor(tensor.flat_values, rng, eps))
    signs = tf.constant(rng.integers(0, 2, size=tuple(tensor.shape), dtype=np.int8))
    down, up = (tf.constant(factor, tensor.dtype) for factor in (1 - eps, 1 + eps))  # tf.cast would go through float32
    return tensor * tf.where(signs == 0, down, up)

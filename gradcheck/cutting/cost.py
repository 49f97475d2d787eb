"""The cost of a call in floating-point operations and bytes, estimated from shapes before anything runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from gradcheck.cutting.model_graph import Call

#: The length that estimates assume for an axis of unknown length, other than the batch axis.
UNKNOWN_AXIS = 8


def elements(spec: Any, batch_size: int) -> int:
    """Return the number of elements of a tensor with the KerasTensor `spec`, for a batch of `batch_size` rows."""
    if not spec.shape:
        return 1
    first = batch_size if spec.shape[0] is None else spec.shape[0]
    return int(first * math.prod(UNKNOWN_AXIS if axis is None else axis for axis in spec.shape[1:]))


def tensor_bytes(spec: Any, batch_size: int) -> int:
    """Return the bytes of a tensor with the KerasTensor `spec`, for a batch of `batch_size` rows."""
    size = 1 if spec.dtype in {"bool", "string"} else tf.as_dtype(spec.dtype).size
    return elements(spec, batch_size) * int(size)


def flops(call: Call) -> int:
    """Estimate the floating-point operations of `call` for one row: at least one per output element.

    A matrix or kernel of n elements costs 2n (a multiplication and an addition) at every position to which it is
    applied: the positions of the output's inner axes (time, height, width), for recurrent layers those of the input.
    """
    returned = sum(elements(spec, 1) for spec in call.outputs)
    layer = call.operation
    if not isinstance(layer, keras.Layer) or isinstance(layer, keras.layers.Embedding):
        return returned
    weights = sum(int(math.prod(w.shape)) for w in layer.weights if len(w.shape) > 1)
    return returned + 2 * weights * _positions(call)


def _positions(call: Call) -> int:
    """Return how many times one row applies the layer's weights."""
    spec = call.outputs[0]
    if isinstance(call.operation, (keras.layers.RNN, keras.layers.Bidirectional)):
        spec = next((argument for argument in call.arguments.keras_tensors), spec)
    channels_first = getattr(call.operation, "data_format", None) == "channels_first"
    inner = spec.shape[2:] if channels_first else spec.shape[1:-1]
    return int(math.prod(UNKNOWN_AXIS if axis is None else axis for axis in inner))

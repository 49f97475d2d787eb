"""One batch as it was handed over: x, y and sample weight from arrays, a dataset, or classes with a weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gradcheck.batch.class_weights import weights_of_classes
from gradcheck.config.keyed import KeyedError


class Given(NamedTuple):
    """A batch in the user's own types and structures; None for what there is not."""

    x: Any
    y: Any = None
    sample_weight: Any = None

    @property
    def batch_size(self) -> int:
        """The length of the first axis of x."""
        first = keras.tree.flatten(self.x)[0]
        shape = tuple(first.shape) if hasattr(first, "shape") else np.shape(first)
        if not shape or shape[0] is None:
            raise KeyedError(f"x has no axis of examples. Received: shape {shape}", code="GC030")
        return int(shape[0])


def batch_of(x: Any, y: Any, *, data: Any = None, sample_weight: Any = None, class_weight: Any = None) -> Given:
    """Return the batch of arguments as `fit` takes them.

    Args:
        x: arrays or tensors, in the structure that the model takes.
        y: the targets, in the structure of the outputs.
        data: in place of x and y: a `tf.data.Dataset` or a `keras.utils.PyDataset`, of which the first batch is used.
        sample_weight: one weight an example, or as `fit` takes it for several outputs.
        class_weight: weights by class, in place of a sample weight.

    Raises:
        KeyedError: GC030 if both or neither of x and `data` are given, or weights for a y that has no classes.
    """
    if (x is None) == (data is None):
        received = "neither" if x is None else "both"
        raise KeyedError(f"give x and y, or data. Received: {received}", code="GC030")
    if data is not None:
        x, y, of_data = keras.utils.unpack_x_y_sample_weight(_first_batch(data))
        sample_weight = of_data if sample_weight is None else sample_weight
    if class_weight is None:
        return Given(arrays(x), arrays(y), arrays(sample_weight))
    if sample_weight is not None or y is None or len(keras.tree.flatten(arrays(y))) != 1:
        message = "class_weight is for one y, without a sample_weight"
        raise KeyedError(message, code="GC030", help="multiply the weights yourself, and give them as sample_weight")
    return Given(arrays(x), arrays(y), weights_of_classes(arrays(y), class_weight))


def _first_batch(data: Any) -> Any:
    if isinstance(data, keras.utils.PyDataset):
        return data[0]
    if isinstance(data, tf.data.Dataset):
        return next(iter(data))
    kind = type(data).__name__
    raise KeyedError(f"data takes a tf.data.Dataset or a keras.utils.PyDataset. Received: a {kind}", code="GC030")


def arrays(values: Any) -> Any:
    """Return `values` with each list of plain numbers as an array; lists of arrays stay lists."""
    if isinstance(values, Mapping):
        return {key: arrays(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        if any(hasattr(value, "shape") for value in keras.tree.flatten(list(values))):
            return type(values)(map(arrays, values)) if type(values) in (list, tuple) else values
        return np.asarray(values)
    return values

"""The range of integers that an input may hold: entries of the layers that look them up, and zeros that pad them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.batch.readers import readers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def index_limit(model: keras.Model, position: int) -> int | None:
    """Return the smallest `input_dim` of an Embedding that reads input `position`; None if none does.

    Integers are followed through operations that keep them integers (a slice, a reshape) and into nested models and
    layers that hold an Embedding. A floating input counts only if an Embedding reads it directly, and casts it.
    """
    tables = (size for reader in readers(model, position) for layer in reader.layers for size in _entries(layer))
    return min(tables, default=None)


def masks_zeros(model: keras.Model, position: int) -> bool:
    """Whether an Embedding with `mask_zero` reads input `position`: zeros are padding there."""
    layers = (layer for reader in readers(model, position) for layer in reader.layers)
    return any(isinstance(layer, keras.layers.Embedding) and layer.mask_zero for layer in layers)


def padded(rng: np.random.Generator, shape: tuple[int, ...], limit: int) -> NDArray[Any]:
    """Return integers from 1 to `limit` (exclusive), with zeros at the end of rows along the last axis.

    Rows differ in length, between half and all of the axis: one is full, another is not, and none is empty, even if the
    model takes a step off either end.
    """
    steps, values = shape[-1], rng.integers(1, limit, shape)
    lengths = rng.integers((steps + 1) // 2, steps + 1, shape[:-1]).reshape(-1)
    full, short = rng.permutation(len(lengths))[[0, -1]]
    lengths[short], lengths[full] = min(lengths[short], steps - 1), steps
    return values * (np.arange(steps) < lengths.reshape(*shape[:-1], 1))


def _entries(layer: keras.Layer) -> Iterator[int]:
    """Yield the number of entries of `layer`, if it looks integers up."""
    if isinstance(layer, keras.layers.Embedding):
        yield int(layer.input_dim)
    elif isinstance(layer, keras.layers.CategoryEncoding) and layer.num_tokens:
        yield int(layer.num_tokens)
    elif isinstance(layer, (keras.layers.StringLookup, keras.layers.IntegerLookup)) and layer.invert:
        yield int(layer.vocabulary_size())

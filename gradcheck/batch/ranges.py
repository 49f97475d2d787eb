"""The range of integers that an input may hold: entries of the layers that look them up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from gradcheck.batch.readers import readers

if TYPE_CHECKING:
    from collections.abc import Iterator


def index_limit(model: keras.Model, position: int) -> int | None:
    """Return the smallest `input_dim` of an Embedding that reads input `position`; None if none does.

    Integers are followed through operations that keep them integers (a slice, a reshape) and into nested models and
    layers that hold an Embedding. A floating input counts only if an Embedding reads it directly, and casts it.
    """
    tables = (size for reader in readers(model, position) for layer in reader.layers for size in _entries(layer))
    return min(tables, default=None)


def _entries(layer: keras.Layer) -> Iterator[int]:
    """Yield the number of entries of `layer`, if it looks integers up."""
    if isinstance(layer, keras.layers.Embedding):
        yield int(layer.input_dim)
    elif isinstance(layer, keras.layers.CategoryEncoding) and layer.num_tokens:
        yield int(layer.num_tokens)
    elif isinstance(layer, (keras.layers.StringLookup, keras.layers.IntegerLookup)) and layer.invert:
        yield int(layer.vocabulary_size())

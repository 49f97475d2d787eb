"""Default words, sentences and identifiers: entries of the vocabularies that look them up, and some unknown ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.batch.readers import readers
from gradcheck.keras_private import split_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

#: The share of the values that are unknown to an open vocabulary.
UNKNOWN_SHARE = 0.125
#: A sentence has from one to this many words.
LONGEST_SENTENCE = 8
#: Words that no vocabulary has; also the input of layers that hash any text.
_UNKNOWN_WORDS = ("unknown_0", "unknown_1", "unknown_2")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The values that a layer can look up: text or integers.

    Attributes:
        known: its entries; none for a layer that hashes.
        is_open: whether it accepts other values too.
        separator: the text between the words of a sentence; None if a value is a single entry.
    """

    known: tuple[Any, ...] = ()
    is_open: bool = True
    separator: str | None = None


def from_vocabulary(
    model: keras.Model, position: int, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any] | None:
    """Return entries of the vocabularies that read input `position`, of dtype int64 or str; None if none reads it.

    If several layers read it, a value is in every vocabulary that is closed; an open one may not know it.
    """
    is_text = str(model.inputs[position].dtype) == "string"
    layers = [layer for reader in readers(model, position) for layer in reader.layers]
    found = [v for v in map(_vocabulary_of, layers) if v is not None and (is_text or v.known)]
    if not found:
        return None
    separator = next((v.separator for v in found if v.separator is not None), None)
    if separator is None:
        return _entries(found, shape, rng, is_text=is_text)
    words = _entries(found, (*shape, LONGEST_SENTENCE), rng, is_text=True).reshape(-1, LONGEST_SENTENCE)
    lengths = rng.integers(1, LONGEST_SENTENCE + 1, len(words))
    sentences = [separator.join(row[:length]) for row, length in zip(words, lengths, strict=True)]
    return np.array(sentences).reshape(shape)


def _vocabulary_of(layer: keras.Layer) -> Vocabulary | None:
    """Return the vocabulary of `layer`; None if it has none."""
    if isinstance(layer, keras.layers.TextVectorization):
        separator = {"character": "", None: None}.get(split_of(layer), " ")
        return Vocabulary(known=tuple(layer.get_vocabulary(include_special_tokens=False)), separator=separator)
    if isinstance(layer, (keras.layers.StringLookup, keras.layers.IntegerLookup)) and not layer.invert:
        known = tuple(layer.get_vocabulary(include_special_tokens=False))
        return Vocabulary(known=known, is_open=layer.num_oov_indices > 0)
    return Vocabulary() if isinstance(layer, (keras.layers.Hashing, keras.layers.HashedCrossing)) else None


def _entries(
    vocabularies: Iterable[Vocabulary], shape: tuple[int, ...], rng: np.random.Generator, *, is_text: bool
) -> NDArray[Any]:
    """Return random entries that every one of `vocabularies` accepts."""
    closed = [set(v.known) for v in vocabularies if not v.is_open]
    if closed:
        return rng.choice(sorted(set.intersection(*closed) or closed[0]), shape)
    known = sorted({entry for v in vocabularies for entry in v.known})
    unknown = _UNKNOWN_WORDS if is_text else (max(known) + 1,)
    entries: NDArray[Any] = rng.choice(known or unknown, shape)
    return np.where(rng.random(shape) < UNKNOWN_SHARE, rng.choice(unknown, shape), entries)

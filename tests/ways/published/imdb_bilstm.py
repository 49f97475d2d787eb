"""Reviews of any length, read in both directions by two recurrent layers."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

VOCABULARY = 50


def build() -> keras.Model:
    words = keras.Input((None,), dtype="int32", name="words")
    x = layers.Embedding(VOCABULARY, 12, mask_zero=True, name="embedding")(words)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True), name="first")(x)
    x = layers.Bidirectional(layers.LSTM(6), name="second")(x)
    return keras.Model(words, layers.Dense(1, activation="sigmoid", name="liked")(x), name="imdb_bilstm")


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    reviews = [rng.integers(1, VOCABULARY, length) for length in (10, 4, 7, 1, 10, 8, 3, 9, 6)]
    padded = keras.utils.pad_sequences(reviews, padding="post")
    return padded, rng.integers(0, 2, (9, 1)).astype("float32")

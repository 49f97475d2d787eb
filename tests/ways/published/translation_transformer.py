"""Sentences from one language into another: encoder and decoder, the target shifted by a word, padding ignored."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

LENGTH, WORDS, WIDTH = 8, 40, 16


@keras.saving.register_keras_serializable("published")
class PositionalEmbedding(layers.Layer):
    def __init__(self, length: int, words: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = {"length": length, "words": words, "width": width}
        self.tokens = layers.Embedding(words, width, mask_zero=True, name="tokens")
        self.positions = layers.Embedding(length, width, name="positions")

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.tokens.build(shape)
        self.positions.build(shape[1:])

    def call(self, words: Any) -> Any:
        return self.tokens(words) * WIDTH**0.5 + self.positions(ops.arange(ops.shape(words)[1]))

    def compute_mask(self, words: Any, _previous: Any = None) -> Any:
        return self.tokens.compute_mask(words)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.sizes


def feed_forward(x: Any) -> Any:
    hidden = layers.Dense(24, activation="relu")(x)
    return layers.LayerNormalization()(layers.add([x, layers.Dense(WIDTH)(hidden)]))


def build() -> keras.Model:
    source = keras.Input((LENGTH,), dtype="int32", name="source")
    target = keras.Input((LENGTH,), dtype="int32", name="target")

    x = PositionalEmbedding(LENGTH, WORDS, WIDTH, name="source_embedding")(source)
    attended = layers.MultiHeadAttention(2, 8, name="encoder_attention")(x, x)
    encoded = feed_forward(layers.LayerNormalization()(layers.add([x, attended])))

    x = PositionalEmbedding(LENGTH, WORDS, WIDTH, name="target_embedding")(target)
    attended = layers.MultiHeadAttention(2, 8, name="causal_attention")(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.add([x, attended]))
    attended = layers.MultiHeadAttention(2, 8, name="cross_attention")(x, encoded)
    x = feed_forward(layers.LayerNormalization()(layers.add([x, attended])))
    return keras.Model(
        {"source": source, "target": target}, layers.Dense(WORDS, name="next_word")(x), name="translation"
    )


def batch() -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(5)

    def sentences(length: int, lengths: list[int]) -> np.ndarray:
        words = rng.integers(1, WORDS, (len(lengths), length))
        return np.where(np.arange(length) < np.array(lengths)[:, None], words, 0)

    source = sentences(LENGTH, [8, 5, 3, 7, 4, 6, 8])
    target = sentences(LENGTH + 1, [9, 4, 6, 3, 8, 5, 7])
    return {"source": source, "target": target[:, :-1]}, target[:, 1:]

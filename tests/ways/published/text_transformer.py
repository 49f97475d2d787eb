"""Reviews of up to 16 words through one block of a Transformer; what is padding is masked."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

LENGTH, VOCABULARY, WIDTH = 16, 60, 16


@keras.saving.register_keras_serializable("published")
class TokenAndPositionEmbedding(layers.Layer):
    def __init__(self, length: int, vocabulary: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = {"length": length, "vocabulary": vocabulary, "width": width}
        self.tokens = layers.Embedding(vocabulary, width, mask_zero=True, name="tokens")
        self.positions = layers.Embedding(length, width, name="positions")
        self.supports_masking = True

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.tokens.build(shape)
        self.positions.build(shape[1:])

    def call(self, words: Any) -> Any:
        return self.tokens(words) + self.positions(ops.arange(ops.shape(words)[1]))

    def compute_mask(self, words: Any, _previous: Any = None) -> Any:
        return self.tokens.compute_mask(words)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.sizes


@keras.saving.register_keras_serializable("published")
class TransformerBlock(layers.Layer):
    def __init__(self, heads: int, hidden: int, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sizes = {"heads": heads, "hidden": hidden, "rate": rate}
        self.supports_masking = True

    def build(self, shape: tuple[int | None, ...]) -> None:
        heads, hidden, rate, width = *self.sizes.values(), shape[-1]
        self.attention = layers.MultiHeadAttention(heads, width // heads, name="attention")
        self.widen = layers.Dense(hidden, activation="relu", name="widen")
        self.narrow = layers.Dense(width, name="narrow")
        self.norms = [layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i}") for i in range(2)]
        self.dropouts = [layers.Dropout(rate, name=f"dropout_{i}") for i in range(2)]
        self.attention.build(shape, shape)
        self.widen.build(shape)
        self.narrow.build((*shape[:-1], hidden))
        for norm in self.norms:
            norm.build(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        attended = self.dropouts[0](self.attention(x, x), training=training)
        x = self.norms[0](x + attended)
        fed = self.dropouts[1](self.narrow(self.widen(x)), training=training)
        return self.norms[1](x + fed)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.sizes


def build() -> keras.Model:
    words = keras.Input((LENGTH,), dtype="int32", name="words")
    x = TokenAndPositionEmbedding(LENGTH, VOCABULARY, WIDTH, name="embedding")(words)
    x = TransformerBlock(2, 24, name="block")(x)
    x = layers.GlobalAveragePooling1D(name="average")(x)
    x = layers.Dropout(0.1, name="dropout")(x)
    x = layers.Dense(12, activation="relu", name="hidden")(x)
    return keras.Model(words, layers.Dense(2, activation="softmax", name="opinion")(x), name="text_transformer")


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    words = rng.integers(1, VOCABULARY, (6, LENGTH))
    lengths = np.array([16, 5, 9, 16, 3, 12])
    return np.where(np.arange(LENGTH) < lengths[:, None], words, 0), rng.integers(0, 2, 6)

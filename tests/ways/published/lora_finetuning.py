"""A frozen language model, fine-tuned through low-rank updates of its dense layers, and a new head."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

WORDS, WIDTH, RANK = 40, 16, 2


def backbone() -> keras.Model:
    words = keras.Input((10,), dtype="int32", name="words")
    x = layers.Embedding(WORDS, WIDTH, name="embedding")(words)
    for i in range(2):
        hidden = layers.Dense(2 * WIDTH, activation="gelu", name=f"widen_{i}")(
            layers.LayerNormalization(name=f"norm_{i}")(x)
        )
        x = layers.add([x, layers.Dense(WIDTH, name=f"narrow_{i}")(hidden)], name=f"sum_{i}")
    return keras.Model(words, x, name="backbone")


def build() -> keras.Model:
    base = backbone()
    for layer in base.layers:
        if isinstance(layer, layers.Dense):
            layer.enable_lora(RANK)
            layer.bias.trainable = False
        else:
            layer.trainable = False
    words = keras.Input((10,), dtype="int32", name="words")
    pooled = layers.GlobalMaxPooling1D(name="pooled")(base(words))
    return keras.Model(words, layers.Dense(3, name="topic")(pooled), name="lora_finetuning")


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    return rng.integers(0, WORDS, (6, 10)), rng.integers(0, 3, 6)

"""Models whose forward pass moves something: seeds, moving statistics, recurrent states."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, Model, layers, ops


def dropout_everywhere() -> Model:
    """Every kind of dropout and noise, in layers and in recurrent cells."""
    x = Input((6, 8))
    y = layers.SpatialDropout1D(0.3)(layers.Dense(8, activation="selu")(x))
    y = layers.AlphaDropout(0.2)(layers.Dense(8, activation="selu")(y))
    y = layers.LSTM(6, return_sequences=True, dropout=0.3, recurrent_dropout=0.2)(y)
    y = layers.Bidirectional(layers.GRU(4, recurrent_dropout=0.3))(y)
    y = layers.GaussianDropout(0.3)(layers.Dense(8, activation="relu")(y))
    y = layers.GaussianNoise(0.2)(layers.Dropout(0.5)(y))
    return Model(x, layers.Dense(2, name="out")(y), name="dropout_everywhere")


def batch_norm_with_momentum() -> Model:
    """Moving statistics that half of every batch goes into."""
    x = Input((8, 8, 2))
    y = layers.BatchNormalization(momentum=0.5)(layers.Conv2D(4, 3)(x))
    y = layers.BatchNormalization(momentum=0.5, center=False)(layers.Conv2D(4, 3, activation="relu")(y))
    return Model(x, layers.Dense(2, name="out")(layers.GlobalAveragePooling2D()(y)), name="batch_norm")


def stateful_gru() -> Model:
    """Recurrent states that the next batch starts from."""
    x = Input(batch_shape=(4, 5, 3))
    y = layers.GRU(6, stateful=True, return_sequences=True)(layers.Dense(3)(x))
    return Model(x, layers.Dense(2, name="out")(layers.GRU(4, stateful=True)(y)), name="stateful_gru")


class Masked(layers.Layer):
    """Dropout that draws from a generator which other layers draw from too."""

    def __init__(self, seed: keras.random.SeedGenerator, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed

    def call(self, x: Any, training: bool | None = None) -> Any:
        return keras.random.dropout(x, 0.5, seed=self.seed) if training else x


def shared_seeds() -> Model:
    """One SeedGenerator given to layers of several segments: what one draws depends on those before it."""
    seed = keras.random.SeedGenerator(11)
    x = y = Input((8,))
    for _ in range(3):
        y = Masked(seed)(layers.Dense(8, activation="relu")(y))
    return Model(x, layers.Dense(2, name="out")(y), name="shared_seeds")


def augmented() -> Model:
    """Images flipped, turned, moved, magnified and recoloured before the first layer that trains."""
    x = Input((12, 12, 3))
    y = layers.RandomFlip("horizontal_and_vertical", seed=1)(x)
    y = layers.RandomZoom(0.3, seed=2)(layers.RandomRotation(0.2, seed=3)(y))
    y = layers.RandomContrast(0.4, seed=4)(layers.RandomTranslation(0.2, 0.2, seed=5)(y))
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(y))
    return Model(x, layers.Dense(2, name="out")(y), name="augmented")


class Watched(layers.Layer):
    """Passes its input on, and keeps a running mean of its size as a metric."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = keras.metrics.Mean(name="size")

    def call(self, x: Any) -> Any:
        self.size.update_state(ops.mean(ops.abs(x)))
        return x


class Compiled(Model):
    """A model with a training step of its own, as users write for `fit`, and metrics beside it."""

    def train_step(self, data: Any) -> Any:  # noqa: ARG002 - as Keras calls it
        raise AssertionError("a check differentiates the model, it does not train by its train_step")


def with_metrics() -> Model:
    """Metrics inside the layers, and a model compiled for `fit`."""
    x = Input((6,))
    y = Watched()(layers.Dense(5, activation="relu")(x))
    y = Watched()(layers.BatchNormalization(momentum=0.9)(layers.Dense(4)(y)))
    model = Compiled(x, layers.Dense(2, name="out")(y), name="with_metrics")
    model.compile(optimizer="adam", loss="mse", metrics=["mae"])
    return model

"""Models as subclasses that a trace on symbolic tensors can follow, and easily follows wrongly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


class AttentionPooling(layers.Layer):
    """Weighs the steps of a sequence, and keeps the weights to be looked at."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.score = keras.Sequential([layers.Dense(units, activation="tanh"), layers.Dense(1)])
        self.last_attention = None

    def call(self, x: Any) -> Any:
        scores = ops.softmax(self.score(x), axis=1)
        self.last_attention = scores
        return ops.sum(scores * x, axis=1)


class Explained(keras.Model):
    """Looks at what its own layer kept."""

    def __init__(self, units: int, num_classes: int) -> None:
        super().__init__()
        self.lstm = layers.LSTM(units, return_sequences=True)
        self.pooling = AttentionPooling(units)
        self.head = layers.Dense(num_classes)

    def call(self, x: Any) -> Any:
        logits = self.head(self.pooling(self.lstm(x)))
        return {"logits": logits, "attention": self.pooling.last_attention}


def kept_attention() -> keras.Model:
    return Explained(units=4, num_classes=3)


class Adapter(keras.Model):
    """Its adapter stands in a closure, where Keras does not find its weights."""

    def __init__(self, units: int) -> None:
        super().__init__()
        adapter = layers.Dense(units, activation="relu", name="adapter")
        self.embed = layers.Dense(units)
        self.adapt = lambda x: x + adapter(x)
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.head(self.adapt(self.embed(x)))


def closure() -> keras.Model:
    return Adapter(4)


@tf.custom_gradient
def reverse(x: Any) -> Any:
    """Nothing forward, the opposite sign backward."""
    return tf.identity(x), lambda upstream: -upstream


class GradientReversal(layers.Layer):
    """A layer of its own around the custom gradient."""

    def call(self, x: Any) -> Any:
        return reverse(x)


class DomainAdversarial(keras.Model):
    """Features that tell the class and must not tell the domain."""

    def __init__(self, units: int, num_classes: int) -> None:
        super().__init__()
        self.features = layers.Dense(units, activation="relu")
        self.label = layers.Dense(num_classes)
        self.reversal = GradientReversal()
        self.domain = layers.Dense(1)

    def call(self, x: Any) -> Any:
        features = self.features(x)
        return {"label": self.label(features), "domain": self.domain(self.reversal(features))}


def gradient_reversal() -> keras.Model:
    return DomainAdversarial(units=4, num_classes=3)


def gradient_reversal_twin() -> keras.Model:
    inputs = keras.Input((6,))
    features = layers.Dense(4, activation="relu", name="features")(inputs)
    label = layers.Dense(3, name="label")(features)
    domain = layers.Dense(1, name="domain")(GradientReversal(name="reversal")(features))
    return keras.Model(inputs, {"label": label, "domain": domain})


class Rescaled(layers.Layer):
    """Passes through what needs no projection."""

    def __init__(self, units: int | None = None) -> None:
        super().__init__()
        self.projection = None if units is None else layers.Dense(units)
        self.dropout = layers.Dropout(0.2)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if self.projection is not None:
            x = self.projection(x)
        return self.dropout(x) if training else x


class PassingThrough(keras.Model):
    """Of three like layers, one has nothing to do outside training."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.stack = [Rescaled(units), Rescaled(), Rescaled(units)]
        self.head = layers.Dense(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        for layer in self.stack:
            x = layer(x, training=training)
        return self.head(x)


def passing_through() -> keras.Model:
    return PassingThrough(4)


class Masked(keras.Model):
    """NumPy's arrays on the left of operators."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.mask = np.arange(units, dtype="float32") % 2
        self.dense = layers.Dense(units)
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        h = self.dense(x)
        return self.head(self.mask * h + (1 - self.mask) * ops.tanh(h))


def array_on_the_left() -> keras.Model:
    return Masked(4)

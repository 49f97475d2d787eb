"""Models as subclasses with what a trace on symbolic tensors cannot follow, or easily follows wrongly."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


class LeftScale(layers.Layer):
    """A dense layer under a weight of its own that stands on the left of the product."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units, activation="tanh")
        self.scale = self.add_weight(shape=(units,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.scale * self.dense(x)


class LocalContrast(layers.Layer):
    """Written with TensorFlow's own functions."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x: Any) -> Any:
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return self.dense((x - mean) * tf.math.rsqrt(variance + 1e-3))


class GaussianDropout(layers.Layer):
    """Variational dropout: noise of a learned variance, drawn while training."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)
        self.log_alpha = self.add_weight(shape=(units,), initializer="zeros", name="log_alpha")
        self.seed_generator = keras.random.SeedGenerator(3)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.dense(x)
        if training:
            noise = keras.random.normal(ops.shape(x), seed=self.seed_generator)
            x = x * (1.0 + noise * ops.exp(0.5 * self.log_alpha))
        return x


@tf.custom_gradient
def straight_through(x: Any) -> Any:
    """Rounds forward, does nothing backward."""
    return tf.round(x), lambda upstream: upstream


class Quantized(layers.Layer):
    """A dense layer whose result is rounded to quarters."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)

    def call(self, x: Any) -> Any:
        return straight_through(self.dense(x) * 4.0) / 4.0


class Warmup(layers.Layer):
    """Lets more of its branch through with every step that it has seen."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)
        self.step = self.add_weight(shape=(), initializer="zeros", trainable=False, name="step")

    def call(self, x: Any, training: bool | None = None) -> Any:
        if training:
            self.step.assign_add(1.0)
        return self.dense(x) * ops.minimum((self.step + 1.0) / 10.0, 1.0)


class EarlyExit(layers.Layer):
    """One of two layers, chosen by what comes in."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.easy = layers.Dense(units)
        self.hard = layers.Dense(units, activation="tanh")

    def call(self, x: Any) -> Any:
        return ops.cond(ops.mean(x) > 0, lambda: self.easy(x), lambda: self.hard(x))


class RunningWhitening(layers.Layer):
    """Whitens by averages that it keeps itself."""

    def __init__(self, units: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.dense = layers.Dense(units)
        self.mean = self.add_weight(shape=(units,), initializer="zeros", trainable=False, name="mean")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.dense(x)
        if training:
            self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * ops.mean(x, axis=0))
        return x - self.mean


class Around(keras.Model):
    """Clean layers before and after one of those above."""

    def __init__(self, inner: layers.Layer) -> None:
        super().__init__()
        self.before = layers.Dense(5, activation="relu")
        self.inner = inner
        self.after = layers.Dense(2)

    def call(self, x: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - the layers inside ask for it
        return self.after(self.inner(self.before(x)))


def variable_on_the_left() -> keras.Model:
    return Around(LeftScale(4))


def tensorflow_inside() -> keras.Model:
    return Around(LocalContrast(4))


def variational_dropout() -> keras.Model:
    return Around(GaussianDropout(4))


def custom_gradient() -> keras.Model:
    return Around(Quantized(4))


def warmup() -> keras.Model:
    return Around(Warmup(4))


def early_exit() -> keras.Model:
    return Around(EarlyExit(4))


def running_average() -> keras.Model:
    return Around(RunningWhitening(4))


class Clipped(keras.Model):
    """Normalises only what is large: a branch on values."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.dense = layers.Dense(units)
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        x = self.dense(inputs)
        if ops.max(x) > 1:
            x = self.norm(x)
        return self.head(x)


def branch_on_values() -> keras.Model:
    return Clipped(4)


class Noisy(keras.Model):
    """Noise on the hidden features, drawn by a function of the sub-class."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = layers.Dense(units, activation="relu")
        self.head = layers.Dense(2)

    def noise(self, x: Any) -> Any:
        return tf.random.normal(tf.shape(x), stddev=0.1)

    def call(self, x: Any) -> Any:
        h = self.hidden(x)
        return self.head(h + self.noise(h))


class NoisyByShape(Noisy):
    """The shape is known without the tensor."""

    def noise(self, x: Any) -> Any:
        return tf.random.normal(x.shape, stddev=0.1)


class NoisyByNumPy(Noisy):
    """NumPy's own generator, one number for each feature."""

    def noise(self, x: Any) -> Any:
        return np.random.normal(scale=0.1, size=x.shape[-1]).astype("float32")


def tensorflow_noise() -> keras.Model:
    return Noisy(4)


def tensorflow_noise_by_shape() -> keras.Model:
    return NoisyByShape(4)


def numpy_noise() -> keras.Model:
    return NoisyByNumPy(4)


class Compiled(keras.Model):
    """Its `call` is a `tf.function`."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.hidden = layers.Dense(units, activation="relu")
        self.head = layers.Dense(2)

    def build(self, input_shape: Any) -> None:
        self.hidden.build(input_shape)
        self.head.build((input_shape[0], self.hidden.units))

    @tf.function
    def call(self, x: Any) -> Any:
        return self.head(self.hidden(x))


def compiled_call() -> keras.Model:
    return Compiled(4)


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

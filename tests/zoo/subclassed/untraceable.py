"""Models as subclasses with what a trace on symbolic tensors cannot follow."""

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


class RunningMean(layers.Layer):
    """Centres by the batch's mean, outside training by an average of them that it keeps itself."""

    def __init__(self, units: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.dense = layers.Dense(units)
        self.mean = self.add_weight(shape=(units,), initializer="zeros", trainable=False, name="mean")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.dense(x)
        if not training:
            return x - self.mean
        mean = ops.mean(x, axis=0)
        self.mean.assign(self.momentum * self.mean + (1 - self.momentum) * mean)
        return x - mean


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
    return Around(RunningMean(4))


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
    """Noise on the hidden features, of the shape of a tensor."""

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

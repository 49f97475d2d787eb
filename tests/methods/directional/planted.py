"""A custom gradient, right or wrong in one of many ways. Not a test: the tests of `numeric` copy it beside a config."""

from typing import Any

import keras
import tensorflow as tf

#: From the right gradients of tanh(x @ w + b) to wrong ones. `c`: cotangent, y: output, g: c times the derivative of
#: tanh; dx, dw, db: the right ones.
FAULTS = {
    "none": lambda s: (s.dx, s.dw, s.db),
    "scale of the input": lambda s: (1.01 * s.dx, s.dw, s.db),
    "scale of the kernel": lambda s: (s.dx, 1.001 * s.dw, s.db),
    "sign": lambda s: (s.dx, -s.dw, s.db),
    "transposed": lambda s: (s.dx, tf.transpose(s.dw), s.db),
    "missing term": lambda s: (s.dx, s.dw, tf.zeros_like(s.db)),
    "mean for a sum": lambda s: (s.dx, s.dw, tf.reduce_mean(s.g, 0)),
    "maximum for a sum": lambda s: (s.dx, s.dw, tf.reduce_max(s.g, 0)),
    "sum over the wrong axis": lambda s: (s.dx, s.dw, tf.reduce_sum(s.g, 1)),
    "sum over everything": lambda s: (s.dx, s.dw, tf.reduce_sum(s.g) * tf.ones_like(s.db)),
    "first example only": lambda s: (s.dx, tf.matmul(s.x[:1], s.g[:1], transpose_a=True), s.db),
    "forgotten cotangent": lambda s: (tf.matmul(1 - s.y**2, s.w, transpose_b=True), s.dw, s.db),
    "cotangent squared": lambda s: (s.dx, s.dw, tf.reduce_sum(s.g * s.c, 0)),
    "size of the cotangent": lambda s: (s.dx, s.dw, tf.reduce_sum(tf.abs(s.c) * (1 - s.y**2), 0)),
    "forgotten derivative": lambda s: (tf.matmul(s.c, s.w, transpose_b=True), s.dw, s.db),
    "derivative at the wrong point": lambda s: (s.dx, s.dw, tf.reduce_sum(s.c * (1 - tf.tanh(s.y) ** 2), 0)),
    "derivative of the sigmoid": lambda s: (s.dx, s.dw, tf.reduce_sum(s.c * s.y * (1 - s.y), 0)),
    "rolled along the batch": lambda s: (tf.roll(s.dx, 1, 0), s.dw, s.db),
    "reversed": lambda s: (s.dx, s.dw, s.db[::-1]),
    "one element lost": lambda s: (s.dx, s.dw * (1 - tf.one_hot(2, 4, dtype=s.dw.dtype)[:, None]), s.db),
    "a constant too much": lambda s: (s.dx + 1e-3, s.dw, s.db),
    "kernel not transposed": lambda s: (tf.matmul(s.g, s.w), s.dw, s.db),
    "wrong shape": lambda s: (s.dx, s.dw, s.db[:3]),
    "through float16": lambda s: (s.dx, tf.cast(tf.cast(s.dw, tf.float16), s.dw.dtype), s.db),
}


class Known:
    """What a gradient function knows."""

    def __init__(self, c: Any, x: Any, w: Any, y: Any) -> None:
        self.c, self.x, self.w, self.y = c, x, w, y
        self.g = c * (1 - y**2)
        self.dx = tf.matmul(self.g, w, transpose_b=True)
        self.dw = tf.matmul(x, self.g, transpose_a=True)
        self.db = tf.reduce_sum(self.g, 0)


class Planted(keras.layers.Layer):
    """tanh(x @ kernel + bias) with a square kernel, and the gradient that `fault` names."""

    def __init__(self, fault: str = "none", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fault = fault

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], shape[-1]), name="kernel")
        self.bias = self.add_weight(shape=(shape[-1],), name="bias", initializer="random_normal")

    def call(self, x: Any) -> Any:
        @tf.custom_gradient
        def dense(x: Any, w: Any, b: Any) -> Any:
            y = tf.tanh(tf.matmul(x, w) + b)
            return y, lambda c: FAULTS[self.fault](Known(c, x, w, y))

        return dense(x, tf.convert_to_tensor(self.kernel), tf.convert_to_tensor(self.bias))


class CastsDown(keras.layers.Layer):
    """A square through float32, whatever comes in."""

    def call(self, x: Any) -> Any:
        return tf.cast(tf.cast(x, tf.float32) ** 2, x.dtype)


class Draws(keras.layers.Layer):
    """Noise from TensorFlow's own generator."""

    def call(self, x: Any) -> Any:
        return x * tf.random.normal(tf.shape(x), dtype=x.dtype)


class NeedsPython(keras.layers.Layer):
    """What cannot be compiled: a decision by value."""

    def compute_output_spec(self, x: Any, **_: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)

    def call(self, x: Any) -> Any:
        return x * float(x.numpy().max() > -1e9) * 2.0

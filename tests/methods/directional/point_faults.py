"""Functions whose gradient is wrong at one point alone, or in one region. Not a test: checked as code of a user."""

from typing import Any

import tensorflow as tf


def planted(function: Any, right: Any, wrong_at: Any, wrong: float) -> Any:
    """`function` of one argument with the gradient `right`, but `wrong` where `wrong_at` is true."""

    @tf.custom_gradient
    def call(x: Any) -> Any:
        return function(x), lambda dy: dy * tf.where(wrong_at(x), tf.cast(wrong, x.dtype), right(x))

    return call


def at_zero(x: Any) -> Any:
    return tf.equal(x, 0.0)


def at_one(x: Any) -> Any:
    return tf.equal(x, 1.0)


def large(x: Any) -> Any:
    return tf.abs(x) > 15.0


sine = planted(tf.sin, tf.cos, at_zero, 0.0)
cubic = planted(lambda x: x**3 + x, lambda x: 3 * x**2 + 1, at_zero, 0.0)
exponential = planted(tf.exp, tf.exp, at_zero, 2.0)
logistic = planted(tf.sigmoid, lambda x: tf.sigmoid(x) * (1 - tf.sigmoid(x)), at_zero, 0.5)
softplus_zero = planted(tf.math.softplus, tf.sigmoid, at_zero, 0.0)
softplus_large = planted(tf.math.softplus, tf.sigmoid, large, 0.0)
softsign = planted(lambda x: x / (1 + tf.abs(x)), lambda x: 1 / (1 + tf.abs(x)) ** 2, at_zero, 0.5)
hyperbolic = planted(tf.tanh, lambda x: 1 - tf.tanh(x) ** 2, at_zero, -1.0)
error_function = planted(tf.math.erf, lambda x: 1.1283791670955126 * tf.exp(-(x**2)), at_zero, 1.0)
inverse_tangent = planted(tf.atan, lambda x: 1 / (1 + x**2), at_one, 1.0)
square = planted(tf.square, lambda x: 2 * x, at_one, 1.0)
root_one = planted(lambda x: tf.sqrt(x + 1), lambda x: 0.5 / tf.sqrt(x + 1), at_one, 0.0)
swish = planted(
    lambda x: x * tf.sigmoid(x),
    lambda x: tf.sigmoid(x) * (1 + x * (1 - tf.sigmoid(x))),
    at_zero,
    0.0,
)
linear_large = planted(lambda x: 2 * x, lambda x: 2 * tf.ones_like(x), large, 0.0)
relu_outside = planted(tf.nn.relu, lambda x: tf.cast(x > 0, x.dtype), at_zero, 2.0)
absolute_outside = planted(tf.abs, tf.sign, at_zero, -3.0)
root_finite = planted(tf.sqrt, lambda x: 0.5 / tf.sqrt(x), at_zero, 0.0)


@tf.custom_gradient
def one_of_a_thousand(x: Any) -> Any:
    """tanh, with the gradient of element 617 lost where it is zero."""

    def grad(dy: Any) -> Any:
        lost = (tf.range(tf.size(x)) == 617) & tf.equal(x, 0.0)
        return tf.where(lost, tf.zeros_like(x), dy * (1 - tf.tanh(x) ** 2))

    return tf.tanh(x), grad


@tf.custom_gradient
def one_of_a_thousand_kinks(x: Any) -> Any:
    """A leaky ReLU, with a gradient outside of both slopes in element 617 where that is zero."""

    def grad(dy: Any) -> Any:
        lost = (tf.range(tf.size(x)) == 617) & tf.equal(x, 0.0)
        return dy * tf.where(lost, 5.0 * tf.ones_like(x), tf.where(x > 0, tf.ones_like(x), 0.1 * tf.ones_like(x)))

    return tf.where(x > 0, x, 0.1 * x), grad


@tf.custom_gradient
def sum_with_a_tie(a: Any, b: Any) -> Any:
    """sin(a) + sin(b), whose second term is lost where both are equal."""

    def grad(dy: Any) -> Any:
        return dy * tf.cos(a), tf.where(tf.equal(a, b), tf.zeros_like(b), dy * tf.cos(b))

    return tf.sin(a) + tf.sin(b), grad


@tf.custom_gradient
def product_with_a_tie(a: Any, b: Any) -> Any:
    """a·b, whose gradient is doubled where both are equal."""

    def grad(dy: Any) -> Any:
        twice = tf.where(tf.equal(a, b), 2.0 * tf.ones_like(a), tf.ones_like(a))
        return dy * b * twice, dy * a * twice

    return a * b, grad

"""Model-agnostic meta-learning (Finn et al., 2017): the loss after one inner step, and its gradients by hand."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def error_of(model: Any, weights: Any, x: Any, y: Any) -> Any:
    """The mean square error of the model with other weights."""
    outputs, _ = model.stateless_call(weights, [], x)
    return tf.reduce_mean(tf.square(outputs - y))


def meta_loss(model: Any, x: Any, y: Any, rate: float) -> Any:
    """The error on the second half of the examples, after one step of SGD on the first half."""
    half = x.shape[0] // 2
    weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        inner = error_of(model, weights, x[:half], y[:half])
    steps = tape.gradient(inner, weights)
    adapted = [weight - rate * step for weight, step in zip(weights, steps, strict=True)]
    return error_of(model, adapted, x[half:], y[half:])


def gradients(check: Any, *, rate: float = 0.3, first_order: bool = False) -> Any:
    """The loss and its gradients: g - rate · H g, where g is the gradient at the adapted weights, H the inner Hessian.

    `first_order` leaves the Hessian out, as FOMAML does on purpose.
    """
    half = check.x.shape[0] // 2
    weights = [tf.convert_to_tensor(v) for v in check.variables]
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(weights)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            inner = error_of(check.model, weights, check.x[:half], check.y[:half])
        steps = tape.gradient(inner, weights)
    adapted = [weight - rate * step for weight, step in zip(weights, steps, strict=True)]
    with tf.GradientTape() as tape:
        tape.watch(adapted)
        loss = error_of(check.model, adapted, check.x[half:], check.y[half:])
    found = tape.gradient(loss, adapted)
    if first_order:
        return loss, found
    products = outer.gradient(steps, weights, output_gradients=found)
    return loss, [g if product is None else g - rate * product for g, product in zip(found, products, strict=True)]

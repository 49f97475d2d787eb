"""The residual of the heat equation as a loss, and a network in two parts that is differentiated twice."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def loss(model: Any, x: Any, y: Any) -> Any:
    """The mean square of u_t - u_xx at the points `x`, each (t, x), and that of u - y."""
    with tf.GradientTape() as of_slope:
        of_slope.watch(x)
        with tf.GradientTape() as of_u:
            of_u.watch(x)
            u = model(x)
        slopes = of_u.gradient(u, x)
        u_x = slopes[:, 1]
    u_xx = of_slope.gradient(u_x, x)[:, 1]
    residual = slopes[:, 0] - u_xx
    return tf.reduce_mean(tf.square(residual)) + tf.reduce_mean(tf.square(u - y))


def gradients(check: Any, *, detached: bool = False) -> Any:
    """The loss and its gradients; the second part runs elsewhere, and answers with its outputs and a gradient."""
    front, back = check.segments

    @tf.custom_gradient
    def elsewhere(boundary: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(boundary)
            outputs = back(boundary)

        def answer(cotangent: Any, variables: Any = ()) -> Any:
            of_boundary, *of_weights = tape.gradient(outputs, [boundary, *variables], cotangent)
            return tf.stop_gradient(of_boundary) if detached else of_boundary, of_weights

        return outputs, answer

    with tf.GradientTape() as tape:
        total = check.loss(lambda x: elsewhere(front(x)), check.x, check.y)
    return total, tape.gradient(total, check.variables)

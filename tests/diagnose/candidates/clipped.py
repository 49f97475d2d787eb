# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A training step for two models, with gradients that are clipped."""

import tensorflow as tf


def gradients_of(given):
    """The loss, and each model's gradients."""
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        loss = given.loss(given.y, back(a, training=True))
    from_loss, *g1 = tape_1.gradient(loss, [a, *back.trainable_variables])
    return loss, tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), g1


def right(given):
    """Clipped by the norm of all, which the optimizer would do as well."""
    loss, g0, g1 = gradients_of(given)
    clipped, _ = tf.clip_by_global_norm([*g0, *g1], 0.1)
    given.optimizer.apply_gradients(zip(clipped, given.variables, strict=True))
    return loss


def each_model_by_its_own_norm(given):
    """Each model's worker clips what it has, before all gradients are applied together."""
    loss, g0, g1 = gradients_of(given)
    g0, _ = tf.clip_by_global_norm(g0, 0.1)
    g1, _ = tf.clip_by_global_norm(g1, 0.1)
    given.optimizer.apply_gradients(zip([*g0, *g1], given.variables, strict=True))
    return loss

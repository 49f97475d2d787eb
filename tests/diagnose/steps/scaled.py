# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Training steps in float16, with a loss scale that is undone for one of two models alone."""

import tensorflow as tf


def gradients_of(given, *, unscaled=False):
    """The loss, and each model's gradients; with `unscaled` the cotangent is divided by the scale."""
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        loss = given.loss(given.y, back(a, training=True))
        scaled = given.optimizer.scale_loss(loss)
    from_loss, *g1 = tape_1.gradient(scaled, [a, *back.trainable_variables])
    if unscaled:
        from_loss /= tf.cast(scaled / loss, from_loss.dtype)
    return loss, tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), g1, scaled / loss


def right(given):
    loss, g0, g1, _ = gradients_of(given)
    given.optimizer.apply([*g0, *g1], given.variables)
    return loss


def cotangent_unscaled(given):
    """The server divides the cotangent that it sends, and the optimizer divides the client's gradients once more."""
    loss, g0, g1, _ = gradients_of(given, unscaled=True)
    given.optimizer.apply([*g0, *g1], given.variables)
    return loss


def back_unscaled(given):
    loss, g0, g1, scale = gradients_of(given)
    given.optimizer.apply([*g0, *(g / scale for g in g1)], given.variables)
    return loss


def back_past_the_scale(given):
    """The second model's gradients go to the inner optimizer."""
    front, back = given.segments
    loss, g0, g1, _ = gradients_of(given)
    given.optimizer.apply(g0, front.trainable_variables)
    given.optimizer.inner_optimizer.apply(g1, back.trainable_variables)
    return loss

# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A training step in float16, by an optimizer that divides by the loss scale."""

import tensorflow as tf


def gradients_of(given, scaled):
    """The loss, and the gradients of what `scaled` makes of it."""
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        loss = given.loss(given.y, back(a, training=True))
        of = scaled(loss)
    from_loss, *g1 = tape_1.gradient(of, [a, *back.trainable_variables])
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss)
    return loss, [*g0, *g1]


def right(given):
    loss, gradients = gradients_of(given, given.optimizer.scale_loss)
    given.optimizer.apply_gradients(zip(gradients, given.variables, strict=True))
    return loss


def loss_not_scaled(given):
    """The optimizer divides by the scale, and nobody has multiplied the loss by it."""
    loss, gradients = gradients_of(given, lambda loss: loss)
    given.optimizer.apply_gradients(zip(gradients, given.variables, strict=True))
    return loss


def faster(given):
    """Somebody makes the loss larger, to learn faster."""
    loss, gradients = gradients_of(given, lambda loss: 1.5 * given.optimizer.scale_loss(loss))
    given.optimizer.apply_gradients(zip(gradients, given.variables, strict=True))
    return loss


def front_alone(given):
    """The cotangent is not handed to the first model, which is differentiated with ones."""
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        loss = given.loss(given.y, back(a, training=True))
        of = given.optimizer.scale_loss(loss)
    gradients = [*tape_0.gradient(a, front.trainable_variables), *tape_1.gradient(of, back.trainable_variables)]
    given.optimizer.apply_gradients(zip(gradients, given.variables, strict=True))
    return loss


def ascent(given):
    """Every gradient is negated, in every step."""
    loss, gradients = gradients_of(given, given.optimizer.scale_loss)
    given.optimizer.apply_gradients(zip([-g for g in gradients], given.variables, strict=True))
    return loss

# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A training step for two models, asked again and again."""

import tensorflow as tf

accumulated = []
queue = []
waiting = []


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
    loss, g0, g1 = gradients_of(given)
    given.optimizer.apply_gradients(zip([*g0, *g1], given.variables, strict=True))
    return loss


def never_cleared(given):
    """Gradients are added to what is accumulated, which nobody sets to zero after the update."""
    loss, g0, g1 = gradients_of(given)
    if not accumulated:
        accumulated.extend(tf.Variable(tf.zeros(v.shape)) for v in given.variables)
    for total, g in zip(accumulated, [*g0, *g1], strict=True):
        total.assign_add(g)
    given.optimizer.apply_gradients(zip([tf.identity(t) for t in accumulated], given.variables, strict=True))
    return loss


def one_step_behind(given):
    """A pipeline that is never flushed: an update gets the gradients that were computed a step ago."""
    loss, g0, g1 = gradients_of(given)
    queue.append([*g0, *g1])
    gradients = queue.pop(0) if len(queue) > 1 else queue[0]
    given.optimizer.apply_gradients(zip(gradients, given.variables, strict=True))
    return loss


def one_update_for_each_model(given):
    """Each model is updated by itself, so that the one optimizer counts two steps."""
    front, back = given.segments
    loss, g0, g1 = gradients_of(given)
    given.optimizer.apply_gradients(zip(g0, front.trainable_variables, strict=True))
    given.optimizer.apply_gradients(zip(g1, back.trainable_variables, strict=True))
    return loss


def applied_again(given):
    """The loop applies the gradients, and so does what it calls."""
    loss, g0, g1 = gradients_of(given)
    for _ in range(2):
        given.optimizer.apply_gradients(zip([*g0, *g1], given.variables, strict=True))
    return loss


def nothing_applied(given):
    """The gradients are computed, and that is all."""
    return gradients_of(given)[0]


def every_second_step(given):
    """Gradients are accumulated over two batches, so the weights stand still in every other step."""
    loss, g0, g1 = gradients_of(given)
    waiting.append([*g0, *g1])
    if len(waiting) == 2:
        mean = [(first + second) / 2 for first, second in zip(*waiting, strict=True)]
        given.optimizer.apply_gradients(zip(mean, given.variables, strict=True))
        waiting.clear()
    return loss

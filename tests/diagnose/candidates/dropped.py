# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Three models with dropout in the second, of which some are recomputed to save memory."""

import tensorflow as tf


def right(given):
    """Recomputation that puts the seed of the mask back before the second forward pass."""
    front, middle, back = given.segments
    (seed,) = middle.non_trainable_variables
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    before = tf.identity(seed.value)
    b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    seed.assign(before)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        again = middle(a, training=True)
    from_middle, *g1 = tape_1.gradient(again, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def another_mask(given):
    """The same, and the seed is left where it is."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        again = middle(a, training=True)
    from_middle, *g1 = tape_1.gradient(again, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def all_recomputed(given):
    """Every model runs without a tape first, and under one on the way back."""
    inputs = [given.x]
    for segment in given.segments[:-1]:
        inputs.append(segment(inputs[-1], training=True))
    gradients, cotangent, loss = [], None, None
    for segment, x in zip(reversed(given.segments), reversed(inputs), strict=True):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = segment(x, training=True)
            if cotangent is None:
                output = loss = given.loss(given.y, output)
        cotangent, *found = tape.gradient(output, [x, *segment.trainable_variables], output_gradients=cotangent)
        gradients = [*found, *gradients]
    return loss, gradients


def no_dropout(given):
    """The middle model is called without `training=True`."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        loss = given.loss(given.y, back(middle(front(given.x, training=True)), training=True))
    return loss, tape.gradient(loss, given.variables)


def recomputed_without_dropout(given):
    """The second forward pass leaves out `training=True`, and so drops nothing."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        again = middle(a, training=False)
    from_middle, *g1 = tape_1.gradient(again, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]

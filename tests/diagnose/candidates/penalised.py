# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Three models with penalties on weights and activations, which are part of the loss."""

import tensorflow as tf


def right(given):
    x, added = given.x, []
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
            added += segment.losses
        loss = given.loss(given.y, x) + tf.add_n(added)
    return loss, tape.gradient(loss, given.variables)


def penalties_forgotten(given):
    """Only the data loss, as it stands in every example of a training loop."""
    x = given.x
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
        loss = given.loss(given.y, x)
    return loss, tape.gradient(loss, given.variables)


def middle_forgotten(given):
    """The penalties of the first and the last model, but not those of the middle one."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
        extra = tf.add_n(front.losses)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True)) + tf.add_n(back.losses)
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient([a, extra], front.trainable_variables, output_gradients=[from_middle, tf.ones(())])
    return loss + extra, [*g0, *g1, *g2]


def activity_forgotten(given):
    """The weight penalties are computed from the weights, so that what the activations cost is missing."""
    x = given.x
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
        penalties = [v.regularizer(v) for v in given.variables if v.regularizer is not None]
        loss = given.loss(given.y, x) + tf.add_n(penalties)
    return loss, tape.gradient(loss, given.variables)


def penalties_in_every_model(given):
    """Each of the three tapes adds the penalties of the whole model to its own gradients."""
    x = given.x
    with tf.GradientTape() as tape:
        added = []
        for segment in given.segments:
            x = segment(x, training=True)
            added += segment.losses
        everything = tf.add_n(added)
        loss = given.loss(given.y, x)
        for _ in given.segments:
            loss += everything
    return loss, tape.gradient(loss, given.variables)


def penalties_in_every_micro_batch(given):
    """Two micro-batches, the data loss averaged over them, and the penalties of the weights added in each."""
    total, loss_of_all = [tf.zeros(v.shape) for v in given.variables], 0.0
    for start in (0, 2):
        x = given.x[start : start + 2]
        with tf.GradientTape() as tape:
            added = []
            for segment in given.segments:
                x = segment(x, training=True)
                added += segment.losses
            loss = given.loss(given.y[start : start + 2], x) / 2 + tf.add_n(added)
        total = [t + g for t, g in zip(total, tape.gradient(loss, given.variables), strict=True)]
        loss_of_all += loss
    return loss_of_all, total


def penalties_forgotten_and_ones(given):
    """Two mistakes: no penalties, and the first model is differentiated without the cotangent of its output."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    g1 = tape_1.gradient(b, middle.trainable_variables, output_gradients=from_loss)
    return [*tape_0.gradient(a, front.trainable_variables), *g1, *g2]


def halves_of(given):
    """The gradients of the data loss for each half of the batch, and those of all that is added, once."""
    found = []
    for part in (slice(0, 2), slice(2, 4)):
        with tf.GradientTape() as tape:
            x = given.x[part]
            for segment in given.segments:
                x = segment(x, training=True)
            loss = given.loss(given.y[part], x)
        found.append(tape.gradient(loss, given.variables))
    x, added = given.x, []
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
            added += segment.losses
        extra = tf.add_n(added)
    loss = given.loss(given.y, x) + extra
    once = [0.0 if g is None else g for g in tape.gradient(extra, given.variables)]
    return loss, [a + b for a, b in zip(*found, strict=True)], once


def halves_summed(given):
    """The halves are summed, not averaged; the penalties are right."""
    loss, summed, once = halves_of(given)
    return loss, [a + b for a, b in zip(summed, once, strict=True)]


def halves_averaged_twice(given):
    """The halves' mean is divided by their number once more; the penalties are right."""
    loss, summed, once = halves_of(given)
    return loss, [a / 4 + b for a, b in zip(summed, once, strict=True)]


def ascent_of_the_data_loss(given):
    """The sign of the data loss is wrong, that of the penalties is right."""
    loss, summed, once = halves_of(given)
    return loss, [b - a / 2 for a, b in zip(summed, once, strict=True)]

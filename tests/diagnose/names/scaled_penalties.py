# ruff: noqa: ANN001, ANN201, B905, ERA001 - training code as people write it
"""Where does the loss scale go, if the loss has two kinds of terms?"""

import tensorflow as tf

loss_scale = 256.0


def one_tape(check, to_differentiate):
    first, second = check.segments
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, second(first(check.x, training=True), training=True))
        penalty = tf.add_n([*first.losses, *second.losses])
        of = to_differentiate(loss, penalty)
    return loss + penalty, tape.gradient(of, check.variables)


def right(check):
    loss, grads = one_tape(check, lambda data, penalty: loss_scale * (data + penalty))
    return loss, [g / loss_scale for g in grads]


# expect: GC503
def penalties_divided_too(check):
    """Only the data loss is scaled, and every gradient is divided."""
    loss, grads = one_tape(check, lambda data, penalty: loss_scale * data + penalty)
    return loss, [g / loss_scale for g in grads]


# expect: GC503
def nothing_divided(check):
    """Only the data loss is scaled, and no gradient is divided."""
    return one_tape(check, lambda data, penalty: loss_scale * data + penalty)


# expect: GC503|GC505
def penalties_seeded_with_one(check):
    """A tape for each model. The cotangent carries the scale; the first one's penalty is seeded with one."""
    first, second = check.segments
    with tf.GradientTape() as front_tape:
        h = first(check.x, training=True)
        penalty = tf.add_n(first.losses)
    with tf.GradientTape() as back_tape:
        back_tape.watch(h)
        loss = check.loss(check.y, second(h, training=True)) + tf.add_n(second.losses)
        scaled = loss * loss_scale
    dh, *g1 = back_tape.gradient(scaled, [h, *second.trainable_variables])
    g0 = front_tape.gradient([h, penalty], first.trainable_variables, output_gradients=[dh, tf.ones(())])
    return loss + penalty, [g / loss_scale for g in g0 + g1]


# expect: GC900 + GC201 + GC501
def two_halves_without_penalties(check):
    """Gradient accumulation from a tutorial, where no layer has a regularizer, and nobody divides by two."""
    first, second = check.segments
    grads = [tf.zeros_like(v) for v in check.variables]
    for half in (slice(0, 4), slice(4, 8)):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y[half], second(first(check.x[half], training=True), training=True))
        grads = [a + b for a, b in zip(grads, tape.gradient(loss, check.variables))]
    return grads

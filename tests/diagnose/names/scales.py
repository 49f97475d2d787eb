# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
"""Mixed precision by hand: the loss is multiplied, cotangents carry the scale, each model divides its gradients."""

import tensorflow as tf

SCALE = 2.0**10


def step(check, unscale, scale=SCALE):
    """`unscale` is what each of the three models does with its own gradients."""
    bottom, middle, top = check.segments
    with tf.GradientTape() as t0:
        a = bottom(check.x, training=True)
    with tf.GradientTape() as t1:
        t1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as t2:
        t2.watch(b)
        loss = check.loss(check.y, top(b, training=True))
        scaled_loss = loss * scale
    db, *g2 = t2.gradient(scaled_loss, [b, *top.trainable_variables])
    da, *g1 = t1.gradient(b, [a, *middle.trainable_variables], output_gradients=db)
    g0 = t0.gradient(a, bottom.trainable_variables, output_gradients=da)
    return loss, [undo(g) for undo, grads in zip(unscale, (g0, g1, g2)) for g in grads]


def divide(g):
    return g / SCALE


def keep(g):
    return g


def right(check):
    return step(check, [divide, divide, divide])


# expect: GC503
def undone_in_the_middle_alone(check):
    return step(check, [keep, divide, keep])


# expect: GC503
def undone_in_the_first_alone(check):
    """The first model's worker was written last, by somebody who had read about it."""
    return step(check, [divide, keep, keep])


# expect: GC503
def undone_in_the_last_alone(check):
    """The model that scales also unscales; the cotangent still carries the scale."""
    bottom, middle, _ = check.segments
    loss, grads = step(check, [keep, keep, divide])
    count = len(bottom.trainable_variables) + len(middle.trainable_variables)
    return loss, {v.path: g for v, g in zip(check.variables, grads[:count] + grads[count:])}


# expect: GC503 segment_2
def undone_in_all_but_the_last(check):
    """The last model uses its gradients before they are divided."""
    return step(check, [divide, divide, keep])


# expect: GC503 segment_1
def undone_in_all_but_the_middle(check):
    inverse = 1.0 / 4096.0

    def times(g):
        return g * inverse

    return step(check, [times, keep, times], scale=4096.0)


# expect: GC503 segment_0
def undone_in_all_but_the_first(check):
    """`for model in models[1:]`, since the first has only frozen layers in the example."""
    loss, grads = step(check, [keep, keep, keep])
    first = len(check.segments[0].trainable_variables)
    return loss, grads[:first] + [tf.multiply(g, 1 / SCALE) for g in grads[first:]]

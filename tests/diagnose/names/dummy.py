# ruff: noqa: ANN001, ANN201, ANN202, E501, ERA001 - training code as people write it
"""`loss = sum(boundary * cotangent)` has the cotangent for its gradient. It is how Keras's `fit` can be used for a part."""

import tensorflow as tf


def as_sum(boundary, cotangent):
    return tf.reduce_sum(boundary * cotangent)


def as_mean(boundary, cotangent):
    return tf.reduce_mean(boundary * cotangent)


def train(check, dummy_0, dummy_1):
    x, tapes, outputs = check.x, [], []
    inputs = []
    for model in check.segments:
        inputs.append(tf.identity(x))
        with tf.GradientTape() as tape:
            tape.watch(inputs[-1])
            x = model(inputs[-1], training=True)
            outputs.append(x)
            if model is check.segments[-1]:
                loss = check.loss(check.y, x)
        tapes.append(tape)
    dx, *g2 = tapes[2].gradient(loss, [inputs[2], *check.segments[2].trainable_variables])
    with tapes[1]:
        of_1 = dummy_1(outputs[1], tf.stop_gradient(dx))
    dx, *g1 = tapes[1].gradient(of_1, [inputs[1], *check.segments[1].trainable_variables])
    with tapes[0]:
        of_0 = dummy_0(outputs[0], tf.stop_gradient(dx))
    return loss, [*tapes[0].gradient(of_0, check.segments[0].trainable_variables), *g1, *g2]


def right(check):
    return train(check, as_sum, as_sum)


# expect: GC112
def mean_at_every_boundary(check):
    """Both are smaller by the number of elements of their boundary."""
    return train(check, as_mean, as_mean)


# expect: GC112 boundary 1 → 2
def mean_at_the_second_boundary(check):
    return train(check, as_sum, as_mean)


# expect: GC112 boundary 0 → 1
def mean_per_example(check):
    """A sum for each example, and the mean over the batch, as losses have it."""

    def per_example(boundary, cotangent):
        return tf.reduce_mean(tf.reduce_sum(boundary * cotangent, axis=[1, 2]))

    return train(check, per_example, as_sum)


# expect: GC101 boundary 0 → 1
def sum_without_the_cotangent(check):
    return train(check, lambda boundary, _: tf.reduce_sum(boundary), as_sum)


# expect: GC110|GC111 boundary 0 → 1
def cotangent_of_the_rolled_batch(check):
    """The cotangents are stored in a ring of examples, which is one further."""
    return train(check, lambda boundary, c: as_sum(boundary, tf.roll(c, 2, axis=0)), as_sum)

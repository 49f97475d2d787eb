# ruff: noqa: ANN001, ANN201, B905 - training code as people write it
"""Importance weights, which the loss must be given."""

import keras
import tensorflow as tf


def step(check, loss_of, x=None):
    front, back = check.segments
    with tf.GradientTape() as tape_0:
        h = front(check.x if x is None else x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(h)
        loss = loss_of(back(h, training=True))
    dh, *g1 = tape_1.gradient(loss, [h, *back.trainable_variables])
    return loss, tape_0.gradient(h, front.trainable_variables, output_gradients=dh) + g1


def right(check):
    return step(check, lambda out: check.loss(check.y, out, check.sample_weight))


def right_by_hand(check):
    """Weighed, and divided by the number of examples."""

    def loss(out):
        return tf.reduce_mean(check.sample_weight * tf.reduce_mean((out - check.y) ** 2, axis=-1))

    return step(check, loss)


# expect: GC506
def all_ones(check):
    """The weights that a default argument gives."""
    return step(check, lambda out: check.loss(check.y, out, tf.ones_like(check.sample_weight)))


# expect: GC506
def keras_loss_of_two_arguments(check):
    mse = keras.losses.MeanSquaredError()
    return step(check, lambda out: mse(check.y, out))


# expect: GC506
def weights_left_out_of_the_dataset(check):
    """`Dataset.from_tensor_slices((x, y))`: three micro-batches, from which the weights are missing."""
    dataset = tf.data.Dataset.from_tensor_slices((check.x, check.y)).batch(3)
    total, grads = 0.0, [tf.zeros_like(v) for v in check.variables]
    for x, y in dataset:

        def loss(out, y=y):
            return tf.reduce_sum(keras.losses.mean_squared_error(y, out)) / 9

        found = step(check, loss, x)
        total += found[0]
        grads = [a + b for a, b in zip(grads, found[1])]
    return total, grads

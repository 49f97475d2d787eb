# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
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


# expect: GC101 None
def boundary_in_a_buffer(check):
    """What arrives is kept in a variable that is not trainable, which no tape watches by itself."""
    front, back = check.segments
    with tf.GradientTape() as tape_0:
        h = front(check.x, training=True)
    buffer = tf.Variable(tf.zeros_like(h), trainable=False)
    buffer.assign(h)
    with tf.GradientTape() as tape_1:
        loss = check.loss(check.y, back(buffer.read_value(), training=True), check.sample_weight)
    dh, of_back = tape_1.gradient(loss, [buffer, back.trainable_variables])
    of_front = tape_0.gradient(h, front.trainable_variables, output_gradients=dh)
    return loss, of_front + of_back


# expect: GC900 + GC201 + GC506
def summed_and_not_weighed(check):
    """Keras's mean loss of each micro-batch, without weights, and the gradients added up."""
    mse, grads = keras.losses.MeanSquaredError(), [tf.zeros_like(v) for v in check.variables]
    for i in range(0, 9, 3):
        _, found = step(check, lambda out, i=i: mse(check.y[i : i + 3], out), check.x[i : i + 3])
        grads = [a + b for a, b in zip(grads, found)]
    return grads

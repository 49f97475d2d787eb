# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A trunk with two heads, as three models."""

import tensorflow as tf


def right(given):
    trunk, left, right = given.segments
    with tf.GradientTape() as tape_0:
        shared = trunk(given.x, training=True)
    with tf.GradientTape(persistent=True) as tape_1:
        tape_1.watch(shared)
        outputs = [left(shared, training=True), right(shared, training=True)]
        loss = given.loss(given.y, outputs)
    from_heads = tape_1.gradient(loss, shared)
    g1 = tape_1.gradient(loss, [*left.trainable_variables, *right.trainable_variables])
    return loss, [*tape_0.gradient(shared, trunk.trainable_variables, output_gradients=from_heads), *g1]


def one_head_sends_back(given):
    """Each head has its tape, and only the first one's cotangent reaches the trunk."""
    trunk, left, right = given.segments
    with tf.GradientTape() as tape_0:
        shared = trunk(given.x, training=True)
    for_left, for_right = tf.identity(shared), tf.identity(shared)
    with tf.GradientTape(persistent=True) as tape_1:
        tape_1.watch([for_left, for_right])
        loss = given.loss(given.y, [left(for_left, training=True), right(for_right, training=True)])
    g1 = tape_1.gradient(loss, [*left.trainable_variables, *right.trainable_variables])
    from_heads = tape_1.gradient(loss, for_left)
    return loss, [*tape_0.gradient(shared, trunk.trainable_variables, output_gradients=from_heads), *g1]

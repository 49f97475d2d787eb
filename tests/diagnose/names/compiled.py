# ruff: noqa: ANN001, ANN201, ANN202 - training code as people write it
"""The same step eagerly, as a graph, and by XLA."""

import tensorflow as tf


def step(check, x, y):
    front, drop, back = check.segments
    with tf.GradientTape() as tape_0:
        h = drop(front(x, training=True), training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(h)
        loss = check.loss(y, back(h, training=True))
    dh, *g1 = tape_1.gradient(loss, [h, *back.trainable_variables])
    return loss, tape_0.gradient(h, front.trainable_variables, output_gradients=dh) + g1


def right(check):
    return step(check, check.x, check.y)


def right_in_a_graph(check):
    return tf.function(lambda x, y: step(check, x, y))(check.x, check.y)


# expect: GC606 XLA
def jit_compiled(check):
    @tf.function(jit_compile=True)
    def train_step(x, y):
        return step(check, x, y)

    return train_step(check.x, check.y)


# expect: GC606 XLA
def only_the_back_is_compiled(check):
    """A model with `jit_compile` beside one without."""
    front, drop, back = check.segments

    @tf.function(jit_compile=True)
    def of_back(h, y):
        with tf.GradientTape() as tape:
            tape.watch(h)
            loss = check.loss(y, back(drop(h, training=True), training=True))
        return loss, tape.gradient(loss, [h, *back.trainable_variables])

    with tf.GradientTape() as tape:
        h = front(check.x, training=True)
    loss, (dh, *g1) = of_back(h, check.y)
    return loss, tape.gradient(h, front.trainable_variables, output_gradients=dh) + g1


# expect: GC606 XLA
def whole_model_under_one_tape(check):
    """One tape outside, and the compiled function is differentiated through."""
    forward = tf.function(lambda x: check.model(x, training=True), jit_compile=True)
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, forward(check.x))
    return loss, tape.gradient(loss, check.variables)


# expect: GC303 segment_1
def dropped_once_more_for_the_next(check):
    """What the next model gets is another draw than what the tape has."""
    front, drop, back = check.segments
    with tf.GradientTape(persistent=True) as tape_0:
        h = front(check.x, training=True)
        dropped = drop(h, training=True)
    sent = drop(tf.stop_gradient(h), training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(sent)
        loss = check.loss(check.y, back(sent, training=True))
    seed, *of_back = tape_1.gradient(loss, [sent, *back.trainable_variables])
    return loss, tape_0.gradient(dropped, front.trainable_variables, output_gradients=seed) + of_back

# ruff: noqa: ANN001, ANN201, ANN202 - training code as people write it
"""Gradient accumulation over micro-batches, and lists of gradients of equal shapes."""

import tensorflow as tf


def gradients_of(given, x, y):
    """The loss and the gradients of one micro-batch."""
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
        loss = given.loss(y, x)
    return loss, tape.gradient(loss, given.variables)


def right(given):
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 7, 3):
        x, y = given.x[start : start + 3], given.y[start : start + 3]
        _, found = gradients_of(given, x, y)
        total = [t + g * (len(x) / 7) for t, g in zip(total, found, strict=True)]
    return total


def each_counts_the_same(given):
    """The last micro-batch has one example, and counts a third of the batch."""
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 7, 3):
        _, found = gradients_of(given, given.x[start : start + 3], given.y[start : start + 3])
        total = [t + g / 3 for t, g in zip(total, found, strict=True)]
    return total


def as_if_full(given):
    """Each micro-batch counts three of the seven examples, the last too."""
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 7, 3):
        _, found = gradients_of(given, given.x[start : start + 3], given.y[start : start + 3])
        total = [t + g * 3 / 7 for t, g in zip(total, found, strict=True)]
    return total


def summed(given):
    """The gradients of ragged micro-batches are added up, and not averaged."""
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 7, 3):
        _, found = gradients_of(given, given.x[start : start + 3], given.y[start : start + 3])
        total = [t + g for t, g in zip(total, found, strict=True)]
    return total


def last_one_kept(given):
    """Each micro-batch's gradients take the place of those before."""
    for start in range(0, 7, 4):
        _, found = gradients_of(given, given.x[start : start + 4], given.y[start : start + 4])
    return found


def last_one_left_out(given):
    """`7 // 2` whole micro-batches of two; the seventh example is in none."""
    count = 7 // 2
    total = [tf.zeros(v.shape) for v in given.variables]
    for i in range(count):
        _, found = gradients_of(given, given.x[2 * i : 2 * i + 2], given.y[2 * i : 2 * i + 2])
        total = [t + g / count for t, g in zip(total, found, strict=True)]
    return total


def in_backward_order(given):
    """Gradients collected from the last model to the first, and zipped with variables from the first to the last."""
    _, found = gradients_of(given, given.x, given.y)
    by_layer = {"first": found[0:2], "second": found[2:4], "third": found[4:6], "out": found[6:8]}
    hidden = [*by_layer["third"], *by_layer["second"]]
    return [*by_layer["first"], *hidden, *by_layer["out"]]


def none_for_a_bias(given):
    """`kernels and the last bias`: one bias is not among the sources."""
    x = given.x
    sources = [v for v in given.variables if v.path != "second/bias"]
    with tf.GradientTape() as tape:
        for segment in given.segments:
            x = segment(x, training=True)
        loss = given.loss(given.y, x)
    found = tape.gradient(loss, sources)
    return loss, {v.path: g for v, g in zip(sources, found, strict=True)}


def transposed_by_hand(given):
    """The middle model's backward pass in NumPy's words: dy^T x where it should be x^T dy."""
    front, middle, back = given.segments
    kernel_2, bias_2, kernel_3, bias_3 = (tf.convert_to_tensor(v) for v in middle.trainable_variables)
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    h = tf.tanh(a @ kernel_2 + bias_2)
    b = tf.tanh(h @ kernel_3 + bias_3)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    d3 = from_loss * (1 - b**2)
    d2 = (d3 @ tf.transpose(kernel_3)) * (1 - h**2)
    g1 = [tf.transpose(d2) @ a, tf.reduce_sum(d2, 0), tf.transpose(h) @ d3, tf.reduce_sum(d3, 0)]
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=d2 @ tf.transpose(kernel_2))
    return loss, [*g0, *g1, *g2]


def bias_not_summed(given):
    """A hand-made layer whose backward pass hands the bias its gradient for each example."""

    @tf.custom_gradient
    def shifted(x, b):
        return x + b, lambda upstream: (upstream, upstream)

    front, middle, back = given.segments
    kernel_2, bias_2, kernel_3, bias_3 = (v.value for v in middle.trainable_variables)
    with tf.GradientTape() as tape:
        a = front(given.x, training=True)
        h = tf.tanh(shifted(a @ kernel_2, bias_2))
        b = tf.tanh(h @ kernel_3 + bias_3)
        loss = given.loss(given.y, back(b, training=True))
    return loss, tape.gradient(loss, given.variables)


def wrong_tanh(given):
    """A hand-made layer whose backward pass takes the derivative of tanh at y where it should be at x."""

    @tf.custom_gradient
    def squash(x):
        y = tf.tanh(x)
        return y, lambda upstream: upstream * (1 - tf.tanh(y) ** 2)

    front, middle, back = given.segments
    kernel_2, bias_2, kernel_3, bias_3 = (v.value for v in middle.trainable_variables)
    with tf.GradientTape() as tape:
        a = front(given.x, training=True)
        h = squash(a @ kernel_2 + bias_2)
        b = tf.tanh(h @ kernel_3 + bias_3)
        loss = given.loss(given.y, back(b, training=True))
    return loss, tape.gradient(loss, given.variables)

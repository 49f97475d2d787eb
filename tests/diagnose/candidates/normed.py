# ruff: noqa: ANN001, ANN201, ANN202 - training code as people write it
"""Three models with batch normalisation in the second, and a layer with two variables of one shape in the third."""

import tensorflow as tf


def right(given):
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
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def inference_mode(given):
    """The middle model is called without `training=True`, and uses its moving statistics."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        loss = given.loss(given.y, back(middle(front(given.x, training=True)), training=True))
    return loss, tape.gradient(loss, given.variables)


def statistics_of_micro_batches(given):
    """Right accumulation over two micro-batches, each of which is normalised by its own statistics."""
    front, middle, back = given.segments
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in (0, 3):
        x, y = given.x[start : start + 3], given.y[start : start + 3]
        with tf.GradientTape() as tape:
            loss = given.loss(y, back(middle(front(x, training=True), training=True), training=True))
        total = [t + g / 2 for t, g in zip(total, tape.gradient(loss, given.variables), strict=True)]
    return total


def middle_runs_twice(given):
    """Recomputation: the middle model runs once for its output and once for its gradients, and moves twice."""
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


def per_example_jacobian(given):
    """`batch_jacobian` of the middle model: a block for each example, as if none depended on the others."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape(persistent=True) as tape_1:
        tape_1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(given.y, back(b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [b, *back.trainable_variables])
    g1 = tape_1.gradient(b, middle.trainable_variables, output_gradients=from_loss)
    from_middle = tf.einsum("no,noi->ni", from_loss, tape_1.batch_jacobian(b, a))
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def recomputed_in_inference_mode(given):
    """Recomputation that leaves out `training=True`, so that the second forward pass is another function."""
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
        again = middle(a)
    from_middle, *g1 = tape_1.gradient(again, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def gamma_for_beta(given):
    """A custom gradient with variables, in which the gradients of the two are mistaken for each other."""
    front, middle, back = given.segments
    gamma, beta, kernel, bias = (v.value for v in back.trainable_variables)

    @tf.custom_gradient
    def normalised(x):
        mean = tf.reduce_mean(x, axis=-1, keepdims=True)
        deviation = tf.sqrt(tf.math.reduce_variance(x, axis=-1, keepdims=True) + 1e-3)
        z = (x - mean) / deviation

        def backward(upstream, variables=None):
            dz = upstream * gamma
            middle_of = tf.reduce_mean(dz, -1, keepdims=True) + z * tf.reduce_mean(dz * z, -1, keepdims=True)
            of = {beta.ref(): tf.reduce_sum(upstream * z, 0), gamma.ref(): tf.reduce_sum(upstream, 0)}
            return (dz - middle_of) / deviation, [of[v.ref()] for v in variables]

        return z * gamma + beta, backward

    with tf.GradientTape() as tape:
        b = middle(front(given.x, training=True), training=True)
        loss = given.loss(given.y, normalised(b) @ kernel + bias)
    return loss, tape.gradient(loss, given.variables)

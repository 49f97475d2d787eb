# ruff: noqa: ANN001, ANN201, ANN202, B905 - training code as people write it
"""SimCLR-like training in micro-batches, which loses the negatives of the other micro-batches."""

import tensorflow as tf


def info_nce(temperature=0.5):
    def loss(_, z):
        queries, keys = tf.split(tf.cast(z, tf.float32), 2, axis=1)
        queries, keys = tf.math.l2_normalize(queries, axis=1), tf.math.l2_normalize(keys, axis=1)
        logits = tf.matmul(queries, keys, transpose_b=True) / temperature
        labels = tf.range(tf.shape(logits)[0])
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    return loss


def right(check):
    encoder, projector = check.segments
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, projector(encoder(check.x, training=True), training=True))
    return loss, tape.gradient(loss, check.variables)


def right_with_cached_embeddings(check):
    """GradCache: embeddings of all slices, the loss over all of them, then each slice again with its cotangent."""
    encoder, projector = check.segments
    slices = tf.split(check.x, 3)
    z = tf.concat([projector(encoder(x, training=True), training=True) for x in slices], axis=0)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = check.loss(check.y, z)
    grads = [tf.zeros_like(v) for v in check.variables]
    for x, dz in zip(slices, tf.split(tape.gradient(loss, z), 3)):
        with tf.GradientTape() as tape:
            again = projector(encoder(x, training=True), training=True)
        found = tape.gradient(again, check.variables, output_gradients=dz)
        grads = [a + b for a, b in zip(grads, found)]
    return loss, grads


# expect: GC301 cached
def gradient_accumulation(check):
    """The usual loop, which is right for every loss that is a mean over examples."""
    encoder, projector = check.segments
    grads, total = None, 0.0
    for x, y in zip(tf.split(check.x, 3), tf.split(check.y, 3)):
        with tf.GradientTape() as tape:
            loss = check.loss(y, projector(encoder(x, training=True), training=True)) / 3
        found = tape.gradient(loss, check.variables)
        grads = found if grads is None else [a + b for a, b in zip(grads, found)]
        total += loss
    return total, grads


# expect: GC301 cached
def pipeline_with_a_loss_for_each_micro_batch(check):
    """The encoder's worker sends three messages, and the projector's worker computes the loss of each."""
    encoder, projector = check.segments
    with tf.GradientTape() as tape_0:
        h = encoder(check.x, training=True)
    cotangents, g1 = [], [tf.zeros_like(v) for v in projector.trainable_variables]
    for i in range(0, 9, 3):
        message = tf.identity(h[i : i + 3])
        with tf.GradientTape() as tape_1:
            tape_1.watch(message)
            loss = check.loss(check.y[i : i + 3], projector(message, training=True))
        dh, *found = tape_1.gradient(loss, [message, *projector.trainable_variables])
        cotangents.append(dh / 3)
        g1 = [a + b / 3 for a, b in zip(g1, found)]
    dh = tf.concat(cotangents, axis=0)
    return tape_0.gradient(h, encoder.trainable_variables, output_gradients=dh) + g1

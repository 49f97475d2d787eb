# ruff: noqa: ANN001, ANN201, ANN202 - training code as people write it
"""A convolutional network as three models, each with a tape of its own."""

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


def each_model_alone(given):
    """`tape.gradient` of a model's own output, as if it were the loss."""
    inputs, tapes, outputs = given.x, [], []
    for segment in given.segments:
        with tf.GradientTape() as tape:
            inputs = segment(inputs, training=True)
            if segment is given.segments[-1]:
                inputs = given.loss(given.y, inputs)
        tapes.append(tape)
        outputs.append(inputs)
    gradients = []
    for segment, tape, output in zip(given.segments, tapes, outputs, strict=True):
        gradients += tape.gradient(output, segment.trainable_variables)
    return outputs[-1], gradients


def first_model_alone(given):
    """The seed of the first model is forgotten, that of the second is not."""
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
    g1 = tape_1.gradient(b, middle.trainable_variables, output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables)
    return loss, [*g0, *g1, *g2]


def loss_apart(given):
    """The loss has a tape of its own, which gives None: Keras reads the logits that it hides behind a sigmoid."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        b = middle(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        out = back(b, training=True)
    with tf.GradientTape() as tape_3:
        tape_3.watch(out)
        loss = given.loss(given.y, out)
    from_loss = tape_3.gradient(loss, out)
    from_back, *g2 = tape_2.gradient(out, [b, *back.trainable_variables], output_gradients=from_loss)
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_back)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def through_numpy(given):
    """One tape for all, but the first model's output went through a queue as a NumPy array."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        sent = front(given.x, training=True).numpy()
        b = middle(tf.constant(sent), training=True)
        loss = given.loss(given.y, back(b, training=True))
    return loss, tape.gradient(loss, given.variables)


def stopped_gradient(given):
    """`stop_gradient` left over from an experiment, and the None that follows filled with zeros."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        a = front(given.x, training=True)
        b = tf.stop_gradient(middle(a, training=True))
        loss = given.loss(given.y, back(b, training=True))
    gradients = tape.gradient(loss, given.variables)
    return loss, [tf.zeros(v.shape) if g is None else g for g, v in zip(gradients, given.variables, strict=True)]


def averaged_cotangent(given):
    """The gradient that is sent is averaged over the examples, which the receiver broadcasts back."""
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
    from_loss = tf.broadcast_to(tf.reduce_mean(from_loss, axis=0), b.shape)
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def summed_cotangent(given):
    """The same with a sum, at the other boundary."""
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
    from_middle = tf.reduce_sum(from_middle, axis=0, keepdims=True) * tf.ones_like(a)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def half_precision_wire(given):
    """What is sent, forwards and backwards, is cast to float16 and back."""
    front, middle, back = given.segments

    def sent(tensor):
        return tf.cast(tf.cast(tensor, tf.float16), tf.float32)

    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    arrived_a = sent(a)
    with tf.GradientTape() as tape_1:
        tape_1.watch(arrived_a)
        b = middle(arrived_a, training=True)
    arrived_b = sent(b)
    with tf.GradientTape() as tape_2:
        tape_2.watch(arrived_b)
        loss = given.loss(given.y, back(arrived_b, training=True))
    from_loss, *g2 = tape_2.gradient(loss, [arrived_b, *back.trainable_variables])
    from_middle, *g1 = tape_1.gradient(b, [arrived_a, *middle.trainable_variables], output_gradients=sent(from_loss))
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=sent(from_middle))
    return loss, [*g0, *g1, *g2]


def bfloat16_activations(given):
    """Under one tape, the second model's output cast to bfloat16, so that its gradient is too."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        b = middle(front(given.x, training=True), training=True)
        b = tf.cast(tf.cast(b, tf.bfloat16), tf.float32)
        loss = given.loss(given.y, back(b, training=True))
    return loss, tape.gradient(loss, given.variables)


def another_batchs_labels(given):
    """The last model's worker is one example ahead with its targets."""
    front, middle, back = given.segments
    labels = tf.concat([given.y[1:], given.y[:1]], axis=0)
    with tf.GradientTape() as tape:
        loss = given.loss(labels, back(middle(front(given.x, training=True), training=True), training=True))
    return loss, tape.gradient(loss, given.variables)


def scaled_loss(given):
    """The loss is scaled for half precision, and the gradients are not scaled back."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        loss = given.loss(given.y, back(middle(front(given.x, training=True), training=True), training=True))
        scaled = loss * 1024.0
    return loss, tape.gradient(scaled, given.variables)


def gradient_ascent(given):
    """Minus the loss, from code that maximises a reward."""
    front, middle, back = given.segments
    with tf.GradientTape() as tape:
        loss = given.loss(given.y, back(middle(front(given.x, training=True), training=True), training=True))
        objective = -loss
    return loss, tape.gradient(objective, given.variables)


def summed_over_micro_batches(given):
    """Gradients of three micro-batches of two are added up, each of them of a mean."""
    front, middle, back = given.segments
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 6, 2):
        x, y = given.x[start : start + 2], given.y[start : start + 2]
        with tf.GradientTape() as tape:
            loss = given.loss(y, back(middle(front(x, training=True), training=True), training=True))
        found = tape.gradient(loss, given.variables)
        total = [t + g for t, g in zip(total, found, strict=True)]
    return total


def averaged_twice(given):
    """The loss of each of two micro-batches is divided by their number, and so are the gradients."""
    front, middle, back = given.segments
    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 6, 3):
        x, y = given.x[start : start + 3], given.y[start : start + 3]
        with tf.GradientTape() as tape:
            loss = given.loss(y, back(middle(front(x, training=True), training=True), training=True)) / 2
        found = tape.gradient(loss, given.variables)
        total = [t + g for t, g in zip(total, found, strict=True)]
    return [g / 2 for g in total]


def stale_labels_in_a_graph(given):
    """A compiled step that reads the targets from outside: those of the first micro-batch became a constant."""
    front, middle, back = given.segments
    labels = []

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = given.loss(labels[-1], back(middle(front(x, training=True), training=True), training=True))
        return tape.gradient(loss, given.variables)

    total = [tf.zeros(v.shape) for v in given.variables]
    for start in range(0, 6, 2):
        labels.append(given.y[start : start + 2])
        total = [t + g / 3 for t, g in zip(total, step(given.x[start : start + 2]), strict=True)]
    return total


def front_forgotten_and_ascent(given):
    """Two mistakes: the first model is seeded with ones, and the last one's gradients have the wrong sign."""
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
    g1 = tape_1.gradient(b, middle.trainable_variables, output_gradients=from_loss)
    g0 = tape_0.gradient(a, front.trainable_variables)
    return loss, [*g0, *g1, *(-g for g in g2)]


def averaged_and_front_without_bias(given):
    """Two mistakes: the cotangent averaged over the batch at 1 → 2, and no gradient for the first bias."""
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
    from_loss = tf.reduce_mean(from_loss, axis=0, keepdims=True) * tf.ones_like(b)
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=from_loss)
    (of_kernel,) = tape_0.gradient(a, front.trainable_variables[:1], output_gradients=from_middle)
    return loss, [of_kernel, None, *g1, *g2]


def clipped_cotangent(given):
    """No known mistake: somebody clips what is sent from the second model to the first, element by element."""
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
    from_middle = tf.clip_by_value(from_middle, -0.01, 0.01)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def pruned_kernel(given):
    """No known mistake: the smallest elements of one kernel's gradient are set to zero, to send less."""
    loss, gradients = right(given)
    kernel = gradients[2]
    gradients[2] = tf.where(tf.abs(kernel) < tf.reduce_mean(tf.abs(kernel)), 0.0, kernel)
    return loss, gradients


def divided_by_nothing(given):
    """The mean of a cotangent over the unmasked steps of a batch that has none."""
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
    counted = from_loss / tf.reduce_sum(tf.zeros(3))
    from_middle, *g1 = tape_1.gradient(b, [a, *middle.trainable_variables], output_gradients=counted)
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=from_middle)
    return loss, [*g0, *g1, *g2]


def all_zeros(given):
    """The tape was closed before the loss; None was filled up with zeros, and nobody noticed."""
    with tf.GradientTape() as tape:
        outputs = given.x
    for segment in given.segments:
        outputs = segment(outputs, training=True)
    loss = given.loss(given.y, outputs)
    gradients = tape.gradient(loss, given.variables)
    return loss, [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, given.variables, strict=True)]

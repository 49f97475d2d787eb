# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Training steps for three models, with the optimizer of the config."""

import keras
import tensorflow as tf

optimizers = [keras.optimizers.Adam(0.05) for _ in range(3)]


def passes_of(given, x, y):
    """The tensors between the models, the loss, and a tape for each model."""
    one, two, three = given.segments
    with tf.GradientTape() as tape_0:
        a = one(x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        b = two(a, training=True)
    with tf.GradientTape() as tape_2:
        tape_2.watch(b)
        loss = given.loss(y, three(b, training=True))
    return a, b, loss, (tape_0, tape_1, tape_2)


def gradients_of(given, x, y):
    one, two, three = given.segments
    a, b, loss, (tape_0, tape_1, tape_2) = passes_of(given, x, y)
    of_b, *g2 = tape_2.gradient(loss, [b, *three.trainable_variables])
    of_a, *g1 = tape_1.gradient(b, [a, *two.trainable_variables], output_gradients=of_b)
    return loss, [tape_0.gradient(a, one.trainable_variables, output_gradients=of_a), g1, g2]


def right(given):
    loss, gradients = gradients_of(given, given.x, given.y)
    given.optimizer.apply([g for of_model in gradients for g in of_model], given.variables)
    return loss


def last_first(given):
    """The last model is updated, and run again for the cotangent."""
    one, two, three = given.segments
    a, b, loss, (tape_0, tape_1, tape_2) = passes_of(given, given.x, given.y)
    given.optimizer.apply(tape_2.gradient(loss, three.trainable_variables), three.trainable_variables)
    with tf.GradientTape() as tape:
        tape.watch(b)
        again = given.loss(given.y, three(b, training=True))
    of_a, *g1 = tape_1.gradient(b, [a, *two.trainable_variables], output_gradients=tape.gradient(again, b))
    g0 = tape_0.gradient(a, one.trainable_variables, output_gradients=of_a)
    given.optimizer.apply([*g0, *g1], [*one.trainable_variables, *two.trainable_variables])
    return loss


def one_after_the_other(given, apply=None):
    """Each model is updated, and run again for the cotangent that it hands back."""
    apply = apply or (lambda _, *pairs: given.optimizer.apply(*pairs))
    one, two, three = given.segments
    a, b, loss, (tape_0, tape_1, tape_2) = passes_of(given, given.x, given.y)
    apply(2, tape_2.gradient(loss, three.trainable_variables), three.trainable_variables)
    with tf.GradientTape() as tape:
        tape.watch(b)
        again = given.loss(given.y, three(b, training=True))
    of_b = tape.gradient(again, b)
    apply(1, tape_1.gradient(b, two.trainable_variables, output_gradients=of_b), two.trainable_variables)
    with tf.GradientTape() as tape:
        tape.watch(a)
        again = two(a, training=True)
    of_a = tape.gradient(again, a, output_gradients=of_b)
    apply(0, tape_0.gradient(a, one.trainable_variables, output_gradients=of_a), one.trainable_variables)
    return loss


def one_after_the_other_by_own_optimizers(given):
    return one_after_the_other(given, lambda index, *pairs: optimizers[index].apply(*pairs))


def every_micro_batch(given, share=1.0):
    total = 0.0
    for start in (0, 2, 4):
        loss, gradients = gradients_of(given, given.x[start : start + 2], given.y[start : start + 2])
        given.optimizer.apply([share * g for of_model in gradients for g in of_model], given.variables)
        total += loss / 3
    return total


def every_micro_batch_by_its_share(given):
    return every_micro_batch(given, 1 / 3)


def server_alone(given, *, fresh=False):
    """The last model is updated after every micro-batch, the others at the end."""
    one, two, three = given.segments
    total, sums = 0.0, [tf.zeros_like(v) for v in (*one.trainable_variables, *two.trainable_variables)]
    for start in (0, 2, 4):
        x, y = given.x[start : start + 2], given.y[start : start + 2]
        a, b, loss, (tape_0, tape_1, tape_2) = passes_of(given, x, y)
        of_b, *g2 = tape_2.gradient(loss, [b, *three.trainable_variables])
        given.optimizer.apply(g2, three.trainable_variables)
        if fresh:
            with tf.GradientTape() as tape:
                tape.watch(b)
                again = given.loss(y, three(b, training=True))
            of_b = tape.gradient(again, b)
        of_a, *g1 = tape_1.gradient(b, [a, *two.trainable_variables], output_gradients=of_b)
        g0 = tape_0.gradient(a, one.trainable_variables, output_gradients=of_a)
        sums = [s + g / 3 for s, g in zip(sums, [*g0, *g1], strict=True)]
        total += loss / 3
    given.optimizer.apply(sums, [*one.trainable_variables, *two.trainable_variables])
    return total


def server_alone_with_new_weights(given):
    return server_alone(given, fresh=True)

# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Training steps as tutorials write them: two models, and a tape and an optimizer for each."""

from itertools import cycle

import keras
import tensorflow as tf

front_optimizer = keras.optimizers.Adam(0.01)
back_optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
kept = []


def gradients_of(given, x, y):
    """The loss, and each model's gradients."""
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(a)
        loss = given.loss(y, back(a, training=True))
    from_loss, *g1 = tape_1.gradient(loss, [a, *back.trainable_variables])
    return loss, tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), g1


def apply_of(given, g0, g1):
    front, back = given.segments
    front_optimizer.apply_gradients(zip(g0, front.trainable_variables, strict=True))
    back_optimizer.apply_gradients(zip(g1, back.trainable_variables, strict=True))


def right(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    apply_of(given, g0, g1)
    return loss


@tf.function
def compiled_of(given, x, y):
    loss, g0, g1 = gradients_of(given, x, y)
    apply_of(given, g0, g1)
    return loss


def right_and_compiled(given):
    return compiled_of(given, given.x, given.y)


def right_with_xla(given):
    if not kept:
        kept.append(tf.function(compiled_of.python_function, jit_compile=True))
    return kept[0](given, given.x, given.y)


def front_alone(given):
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        loss = given.loss(given.y, back(a, training=True))
    apply_of(given, tape_0.gradient(a, front.trainable_variables), tape_1.gradient(loss, back.trainable_variables))
    return loss


def front_forgotten(given):
    _, back = given.segments
    loss, _, g1 = gradients_of(given, given.x, given.y)
    back_optimizer.apply_gradients(zip(g1, back.trainable_variables, strict=True))
    return loss


def second_pass_after_the_update(given):
    front, back = given.segments
    with tf.GradientTape() as tape_0:
        a = front(given.x, training=True)
    with tf.GradientTape() as tape_1:
        loss = given.loss(given.y, back(a, training=True))
    back_optimizer.apply(tape_1.gradient(loss, back.trainable_variables), back.trainable_variables)
    with tf.GradientTape() as tape_2:
        tape_2.watch(a)
        again = given.loss(given.y, back(a, training=True))
    g0 = tape_0.gradient(a, front.trainable_variables, output_gradients=tape_2.gradient(again, a))
    front_optimizer.apply(g0, front.trainable_variables)
    return loss


def persistent_tape(given):
    front, back = given.segments
    with tf.GradientTape(persistent=True) as tape:
        a = front(given.x, training=True)
        loss = given.loss(given.y, back(a, training=True))
    back_optimizer.apply(tape.gradient(loss, back.trainable_variables), back.trainable_variables)
    front_optimizer.apply(tape.gradient(loss, front.trainable_variables), front.trainable_variables)
    return loss


def every_micro_batch(given):
    total = 0.0
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        loss, g0, g1 = gradients_of(given, given.x[part], given.y[part])
        apply_of(given, g0, g1)
        total += loss / 3
    return total


def server_every_micro_batch(given):
    front, back = given.segments
    total, sums = 0.0, [tf.zeros_like(v) for v in front.trainable_variables]
    for start in (0, 2, 4):
        part = slice(start, start + 2)
        loss, g0, g1 = gradients_of(given, given.x[part], given.y[part])
        back_optimizer.apply(g1, back.trainable_variables)
        sums = [s + g / 3 for s, g in zip(sums, g0, strict=True)]
        total += loss / 3
    front_optimizer.apply(sums, front.trainable_variables)
    return total


def applied_again(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    apply_of(given, g0, g1)
    apply_of(given, g0, g1)
    return loss


queue = []


def one_step_behind(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    queue.append((g0, g1))
    apply_of(given, *(queue.pop(0) if len(queue) > 1 else queue[0]))
    return loss


added = []


def never_cleared(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    added.append((g0, g1))
    apply_of(given, *([tf.add_n(list(g)) for g in zip(*one, strict=True)] for one in zip(*added, strict=True)))
    return loss


def by_hand(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    for variable, gradient in zip(given.variables, [*g0, *g1], strict=True):
        variable.assign_sub(0.1 * gradient)
    return loss


RATES = cycle([0.1, 0.05, 0.025])


def by_hand_and_slower(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    rate = next(RATES)
    for variable, gradient in zip(given.variables, [*g0, *g1], strict=True):
        variable.assign_sub(rate * gradient)
    return loss


def of_the_config(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    given.optimizer.apply([*g0, *g1], given.variables)
    return loss


def back_scaled(given):
    loss, g0, g1 = gradients_of(given, given.x, given.y)
    apply_of(given, g0, [1024.0 * g for g in g1])
    return loss

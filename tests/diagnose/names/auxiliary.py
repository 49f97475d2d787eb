# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
"""The loss of an Inception network, put together by hand: main + 0.3 aux + penalties."""

import keras
import tensorflow as tf

AUX_WEIGHT = 0.3
crossentropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def gradients(check, total_loss):
    """One tape. `total_loss(main, aux, penalties)` is what people get wrong."""
    stem, aux, top = check.segments
    y_main, y_aux = check.y
    with tf.GradientTape() as tape:
        h = stem(check.x, training=True)
        aux_loss = crossentropy(y_aux, aux(h, training=True))
        main_loss = crossentropy(y_main, top(h, training=True))
        loss = total_loss(main_loss, aux_loss, [*stem.losses, *top.losses])
    grads = tape.gradient(loss, check.variables)
    return loss, [tf.zeros(v.shape) if g is None else g for g, v in zip(grads, check.variables)]


def right(check):
    return gradients(check, lambda main, aux, penalties: main + AUX_WEIGHT * aux + tf.add_n(penalties))


def right_with_a_tape_for_each_model(check):
    stem, aux, top = check.segments
    with tf.GradientTape() as tape:
        h = stem(check.x, training=True)
        penalty = tf.add_n(stem.losses)
    with tf.GradientTape() as late_tape:
        late_tape.watch(h)
        logits = [top(h, training=True), aux(h, training=True)]
        loss = check.loss(check.y, logits) + tf.add_n(top.losses)
    dh, g_aux, g_top = late_tape.gradient(loss, (h, aux.trainable_variables, top.trainable_variables))
    g_stem = tape.gradient([h, penalty], stem.trainable_variables, output_gradients=[dh, tf.ones_like(penalty)])
    models, found = (stem, aux, top), (g_stem, g_aux, g_top)
    return loss + penalty, {v.path: g for m, gs in zip(models, found) for v, g in zip(m.trainable_variables, gs)}


# expect: GC505 aux
def auxiliary_head_forgotten(check):
    """As at inference, where only the main output counts."""
    return gradients(check, lambda main, _, penalties: main + tf.add_n(penalties))


# expect: GC505 aux
def auxiliary_head_counts_fully(check):
    """`compile` had the loss weights; the loop written by hand has none."""
    return gradients(check, lambda main, aux, penalties: main + aux + tf.add_n(penalties))


# expect: GC505
def half_of_the_penalties(check):
    """`tf.nn.l2_loss` has a factor of 1/2, and the regularizers of Keras have none."""
    stem, _, top = check.segments

    def total(main, aux, _):
        (stem_kernel, *_), (top_kernel, *_) = stem.trainable_variables, top.trainable_variables
        decay = 0.03 * tf.nn.l2_loss(stem_kernel) + 0.07 * tf.nn.l2_loss(top_kernel)
        return main + AUX_WEIGHT * aux + decay

    return gradients(check, total)


# expect: GC501
def penalties_forgotten(check):
    return gradients(check, lambda main, aux, _: main + AUX_WEIGHT * aux)


# expect: GC502
def penalties_twice(check):
    """In the loss, and once more where weight decay was added later."""

    def total(main, aux, penalties):
        loss = main + AUX_WEIGHT * aux
        loss += sum(penalties)
        return loss + sum(penalties)

    return gradients(check, total)

# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
"""A shared body on one device, two heads on another. Where a class is not known, its weight is zero."""

import tensorflow as tf


def gradients(check, weights):
    body, heads = check.segments

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as body_tape:
            h = body(x, training=True)
        with tf.GradientTape() as heads_tape:
            heads_tape.watch(h)
            found = dict(zip(heads.output_names, heads(h, training=True)))
            loss = check.loss(y, [found["kind"], found["value"]], weights)
        dh, of_heads = heads_tape.gradient(loss, [h, heads.trainable_variables])
        return loss, body_tape.gradient(h, body.trainable_variables, output_gradients=dh), of_heads

    loss, of_body, of_heads = train_step(check.x, check.y)
    pairs = [*zip(body.trainable_variables, of_body), *zip(heads.trainable_variables, of_heads)]
    return loss, {v.path: g for v, g in pairs}


def right(check):
    return gradients(check, check.sample_weight)


# expect: GC506
def no_weights_in_the_step(check):
    """The step was written for a dataset of pairs."""
    return gradients(check, [tf.ones_like(weight) for weight in check.sample_weight])


# expect: GC506 kind
def unknown_classes_count(check):
    """The weights of the value are used, those of the class are not."""
    _, of_value = check.sample_weight
    return gradients(check, [tf.ones_like(of_value), of_value])

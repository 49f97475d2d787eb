# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A masked embedding, recurrent layers, and a loss at each step, as three models."""

import numpy as np
import tensorflow as tf


def right(given):
    """Tensors and masks by name; what is sent keeps the mask that Keras puts on it."""
    values = {given.segments[0].input_names[0]: given.x}
    with tf.GradientTape() as tape:
        for segment in given.segments:
            made = segment([values[name] for name in segment.input_names], training=True)
            values.update(zip(segment.output_names, made if isinstance(made, list) else [made], strict=True))
        loss = given.loss(given.y, values["out"])
    return loss, tape.gradient(loss, given.variables)


def identity_loses_the_mask(given):
    """The last model gets a copy of the writer's output, without the mask that Keras puts on it."""
    values = {given.segments[0].input_names[0]: given.x}
    with tf.GradientTape() as tape:
        for segment in given.segments[:-1]:
            made = segment([values[name] for name in segment.input_names], training=True)
            values.update(zip(segment.output_names, made if isinstance(made, list) else [made], strict=True))
        copy = tf.identity(values["writer"])
        loss = given.loss(given.y, given.segments[-1](copy, training=True))
    return loss, tape.gradient(loss, given.variables)


def nothing_is_masked(given):
    """The receiver makes up a mask: it knows no padding."""
    values = {given.segments[0].input_names[0]: given.x}
    with tf.GradientTape() as tape:
        for segment in given.segments:
            taken = [values[name] for name in segment.input_names]
            taken = [tf.ones_like(t) if t.dtype == tf.bool else t for t in taken]
            made = segment(taken, training=True)
            values.update(zip(segment.output_names, made if isinstance(made, list) else [made], strict=True))
        loss = given.loss(given.y, values["out"])
    return loss, tape.gradient(loss, given.variables)


def last_row_wins(given):
    """The embedding's sparse gradient is scattered with `=`, so that a word that comes twice counts once."""
    loss, gradients = right(given)
    sparse = gradients[0]
    dense = np.zeros(given.variables[0].shape, np.float32)
    dense[sparse.indices.numpy()] = sparse.values.numpy()
    return loss, [dense, *gradients[1:]]

# ruff: noqa: ANN001, ANN201 - training code as people write it
"""A residual network as three models: what the first returns goes to the second and, past it, to the third."""

import tensorflow as tf


def by_name(names, tensors):
    return dict(zip(names, tensors if isinstance(tensors, list) else [tensors], strict=True))


def right(given):
    first, second, third = given.segments
    with tf.GradientTape() as tape_0:
        stem = first(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(stem)
        body = second(stem, training=True)
    arrived = {"stem": tf.identity(stem), "body": tf.identity(body)}
    taken = [arrived[name] for name in third.input_names]
    with tf.GradientTape() as tape_2:
        tape_2.watch(taken)
        loss = given.loss(given.y, third(taken, training=True))
    found = tape_2.gradient(loss, [*taken, *third.trainable_variables])
    cotangents = by_name(third.input_names, found[:2])
    from_body, *g1 = tape_1.gradient(body, [stem, *second.trainable_variables], output_gradients=cotangents["body"])
    g0 = tape_0.gradient(stem, first.trainable_variables, output_gradients=from_body + cotangents["stem"])
    return loss, [*g0, *g1, *found[2:]]


def skip_forgotten(given):
    """Only what comes back through the second model reaches the first."""
    first, second, third = given.segments
    with tf.GradientTape() as tape_0:
        stem = first(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(stem)
        body = second(stem, training=True)
    arrived = {"stem": tf.identity(stem), "body": tf.identity(body)}
    taken = [arrived[name] for name in third.input_names]
    with tf.GradientTape() as tape_2:
        tape_2.watch(taken)
        loss = given.loss(given.y, third(taken, training=True))
    found = tape_2.gradient(loss, [*taken, *third.trainable_variables])
    cotangents = by_name(third.input_names, found[:2])
    from_body, *g1 = tape_1.gradient(body, [stem, *second.trainable_variables], output_gradients=cotangents["body"])
    g0 = tape_0.gradient(stem, first.trainable_variables, output_gradients=from_body)
    return loss, [*g0, *g1, *found[2:]]


def overwritten(given):
    """The cotangents are kept by name, and the second model's overwrites the third's."""
    values = {given.segments[0].input_names[0]: given.x}
    tapes = []
    for segment in given.segments:
        taken = [tf.identity(values[name]) for name in segment.input_names]
        with tf.GradientTape() as tape:
            tape.watch(taken)
            made = segment(taken, training=True)
        values.update(by_name(segment.output_names, made))
        tapes.append((segment, tape, taken, made))
    output = tapes[-1][-1]
    with tf.GradientTape() as tape:
        tape.watch(output)
        loss = given.loss(given.y, output)
    cotangents = {"out": tape.gradient(loss, output)}
    gradients = {}
    for segment, tape, taken, made in reversed(tapes):
        (name,) = segment.output_names
        found = tape.gradient(made, [*taken, *segment.trainable_variables], output_gradients=cotangents[name])
        cotangents.update(zip(segment.input_names, found[: len(taken)], strict=True))
        paths = [v.path for v in segment.trainable_variables]
        gradients.update(zip(paths, found[len(taken) :], strict=True))
    return loss, gradients


def swapped(given):
    """The third model's two cotangents are unpacked in the order that the person remembers."""
    first, second, third = given.segments
    with tf.GradientTape() as tape_0:
        stem = first(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(stem)
        body = second(stem, training=True)
    arrived = {"stem": tf.identity(stem), "body": tf.identity(body)}
    taken = [arrived[name] for name in third.input_names]
    with tf.GradientTape() as tape_2:
        tape_2.watch(taken)
        loss = given.loss(given.y, third(taken, training=True))
    found = tape_2.gradient(loss, [*taken, *third.trainable_variables])
    cotangents = by_name(third.input_names[::-1], found[:2])
    from_body, *g1 = tape_1.gradient(body, [stem, *second.trainable_variables], output_gradients=cotangents["body"])
    g0 = tape_0.gradient(stem, first.trainable_variables, output_gradients=from_body + cotangents["stem"])
    return loss, [*g0, *g1, *found[2:]]


def skip_forgotten_and_halved(given):
    """Two mistakes: the skip is forgotten, and the second model's share is halved `because there are two paths`."""
    first, second, third = given.segments
    with tf.GradientTape() as tape_0:
        stem = first(given.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(stem)
        body = second(stem, training=True)
    arrived = {"stem": tf.identity(stem), "body": tf.identity(body)}
    taken = [arrived[name] for name in third.input_names]
    with tf.GradientTape() as tape_2:
        tape_2.watch(taken)
        loss = given.loss(given.y, third(taken, training=True))
    found = tape_2.gradient(loss, [*taken, *third.trainable_variables])
    cotangents = by_name(third.input_names, found[:2])
    from_body, *g1 = tape_1.gradient(
        body, [stem, *second.trainable_variables], output_gradients=0.5 * cotangents["body"]
    )
    g0 = tape_0.gradient(stem, first.trainable_variables, output_gradients=from_body)
    return loss, [*g0, *g1, *found[2:]]

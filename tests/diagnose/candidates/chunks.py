# ruff: noqa: ANN001, ANN201 - training code as people write it
"""Backpropagation through time, chunk by chunk: the states are what one chunk hands to the next."""

import tensorflow as tf


def right(given):
    values = {given.segments[0].input_names[0]: given.x}
    with tf.GradientTape() as tape:
        for segment in given.segments:
            made = segment([values[name] for name in segment.input_names], training=True)
            values.update(zip(segment.output_names, made if isinstance(made, list) else [made], strict=True))
        loss = given.loss(given.y, values["out"])
    return loss, tape.gradient(loss, given.variables)


def truncated(given):
    """The states are stored between the chunks, as a stateful layer does, and so detached."""
    values = {given.segments[0].input_names[0]: given.x}
    with tf.GradientTape() as tape:
        for segment in given.segments:
            made = segment([values[name] for name in segment.input_names], training=True)
            made = made if isinstance(made, list) else [made]
            for name, tensor in zip(segment.output_names, made, strict=True):
                values[name] = tf.stop_gradient(tensor) if "state" in name else tensor
        loss = given.loss(given.y, values["out"])
    return loss, tape.gradient(loss, given.variables)


def stored_states(given):
    """The same with a tape for each chunk: the states are kept as arrays, and nothing comes back through them."""
    first, second, after = given.segments
    with tf.GradientTape() as tape_0:
        made_0 = dict(zip(first.output_names, first(given.x, training=True), strict=True))
    stored = {name: t.numpy() for name, t in made_0.items() if "state" in name}
    taken = [given.x if name == first.input_names[0] else tf.constant(stored[name]) for name in second.input_names]
    with tf.GradientTape() as tape_1:
        made_1 = second(taken, training=True)
    made_1 = dict(zip(second.output_names, made_1 if isinstance(made_1, list) else [made_1], strict=True))
    outputs = [made_0.get(name, made_1.get(name)) for name in after.input_names]
    with tf.GradientTape() as tape_2:
        tape_2.watch(outputs)
        loss = given.loss(given.y, after(outputs, training=True))
    found = tape_2.gradient(loss, [*outputs, *after.trainable_variables])
    seeds = dict(zip(after.input_names, found, strict=False))
    total = {v.path: g for v, g in zip(after.trainable_variables, found[len(outputs) :], strict=True)}
    for segment, tape, made in ((first, tape_0, made_0), (second, tape_1, made_1)):
        name = next(name for name in seeds if name in made)
        of_chunk = tape.gradient(made[name], segment.trainable_variables, output_gradients=seeds[name])
        for v, g in zip(segment.trainable_variables, of_chunk, strict=True):
            total[v.path] = total.get(v.path, 0) + g
    return loss, total

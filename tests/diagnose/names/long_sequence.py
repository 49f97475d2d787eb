# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001, PLW2901 - training code as people write it
"""Backpropagation through time by hand. An LSTM has a hidden state and a cell state."""

import tensorflow as tf


def chunks(check, between):
    """All chunks under one tape. `between(chunk, states)` is what happens to the states on their way."""
    values = {check.segments[0].input_names[0]: check.x}
    with tf.GradientTape() as tape:
        for i, segment in enumerate(check.segments):
            made = segment([values[name] for name in segment.input_names], training=True)
            made = dict(zip(segment.output_names, made if isinstance(made, list) else [made]))
            states = [name for name in made if "state" in name]
            values |= made
            values |= dict(zip(states, between(i, [made[name] for name in states])))
        loss = check.loss(check.y, values["out"])
    return loss, tape.gradient(loss, check.variables)


def right(check):
    return chunks(check, lambda _, states: states)


# expect: GC304
def hidden_state_detached(check):
    """`h = h.numpy()` for the plot of the activations; the cell state goes on as it is."""

    def between(_, states):
        return [tf.constant(states[0].numpy()), *states[1:]] if states else states

    return chunks(check, between)


# expect: GC304
def cell_state_detached(check):
    """The cell state is kept in a variable between the chunks, as a stateful layer keeps it."""
    memory = tf.Variable(tf.zeros([5, 4]), trainable=False)

    def between(_, states):
        if len(states) < 2:
            return states
        h, c = states
        memory.assign(c)
        return [h, memory.read_value()]

    return chunks(check, between)


# expect: GC304 chunk 1
def cell_state_detached_once(check):
    """Truncated after the second chunk alone, and for one state alone."""

    def between(i, states):
        return [states[0], tf.stop_gradient(states[1])] if i == 1 else states

    return chunks(check, between)


def tape_for_each_chunk(check, returned):
    """What comes back for a chunk's inputs is handed to the chunk before, where `returned(name)` says so."""
    values, tapes = {check.segments[0].input_names[0]: check.x}, []
    for part in check.segments:
        taken = {name: values[name] for name in part.input_names}
        with tf.GradientTape() as tape:
            tape.watch(taken)
            made = part([taken[name] for name in part.input_names], training=True)
            made = dict(zip(part.output_names, made if isinstance(made, list) else [made]))
            if part is check.segments[-1]:
                made = {"loss": check.loss(check.y, made["out"])}
        tapes.append((tape, taken, made))
        values |= made
    seeds, grads = {"loss": tf.ones(())}, {}
    for part, (tape, taken, made) in zip(reversed(check.segments), reversed(tapes)):
        known = {name: seeds[name] for name in made if name in seeds}
        made = {name: made[name] for name in known}
        back, own = tape.gradient(made, (taken, part.trainable_variables), output_gradients=known)
        seeds |= {name: d for name, d in back.items() if returned(name)}
        for v, g in zip(part.trainable_variables, own):
            grads[v.path] = grads[v.path] + g if v.path in grads else g
    return values["loss"], grads


def right_with_a_tape_for_each_chunk(check):
    return tape_for_each_chunk(check, lambda _: True)


# expect: GC304
def only_the_hidden_states_cotangent(check):
    """The cotangent of `h` is handed back from chunk to chunk, that of `c` is not."""
    return tape_for_each_chunk(check, lambda name: "state_1" not in name)

# ruff: noqa: ANN001, ANN201, ANN202, ARG005, B905, E501, ERA001 - training code as people write it
"""A U-Net in three models. What crosses is carried by name, and so are its cotangents."""

import tensorflow as tf


def run(segment, values):
    """The segment's outputs by name."""
    made = segment([values[name] for name in segment.input_names], training=True)
    return dict(zip(segment.output_names, made if isinstance(made, list) else [made]))


def step(check, x, y, send=lambda name, to, cotangent: cotangent, scale=1.0):
    """One forward and backward pass. `send` is what happens to a cotangent on its way to `to`, by the sender's index."""
    encoder, bottom, decoder = check.segments
    with tf.GradientTape() as tape_0:
        skips = run(encoder, {encoder.input_names[0]: x})
    to_bottom = {name: tf.identity(skips[name]) for name in bottom.input_names}
    with tf.GradientTape() as tape_1:
        tape_1.watch(to_bottom)
        code = run(bottom, to_bottom)
    to_decoder = {name: tf.identity({**skips, **code}[name]) for name in decoder.input_names}
    with tf.GradientTape() as tape_2:
        tape_2.watch(to_decoder)
        (out,) = run(decoder, to_decoder).values()
        loss = check.loss(y, out) * scale
    from_decoder, g2 = tape_2.gradient(loss, (to_decoder, decoder.trainable_variables))
    from_decoder = {name: send(name, 2, c) for name, c in from_decoder.items()}
    seed = {name: from_decoder[name] for name in code}
    from_bottom, g1 = tape_1.gradient(code, (to_bottom, bottom.trainable_variables), output_gradients=seed)
    from_bottom = {name: send(name, 1, c) for name, c in from_bottom.items()}
    seed = {}
    for received in (from_decoder, from_bottom):
        for name in skips.keys() & received.keys():
            seed[name] = seed[name] + received[name] if name in seed else received[name]
    g0 = tape_0.gradient(skips, encoder.trainable_variables, output_gradients=seed)
    return loss, [*g0, *g1, *g2]


def right(check):
    return step(check, check.x, check.y)


def right_in_micro_batches(check):
    total = [tf.zeros_like(v) for v in check.variables]
    for i in range(3):
        _, grads = step(check, check.x[i::3], check.y[i::3], scale=1 / 3)
        total = [t + g for t, g in zip(total, grads)]
    return total


# expect: GC112 down_1
def skip_halved(check):
    """The encoder's last output has two consumers, and somebody takes the mean for one of them."""
    return step(check, check.x, check.y, send=lambda name, by, c: c / 2 if (name, by) == ("down_1", 2) else c)


# expect: GC112 down_0
def skips_weighed_down(check):
    """A factor for the long skip, which stayed from an experiment."""
    skip_weight = 0.1

    def send(name, sender, cotangent):
        return skip_weight * cotangent if sender == 2 and name == "down_0" else cotangent

    return step(check, check.x, check.y, send)


# expect: GC112 bottom
def one_too_many(check):
    """The cotangent of the bottom is added to the sum twice: in the loop, and before it."""
    return step(check, check.x, check.y, send=lambda name, _, c: c + c if name == "bottom" else c)


# expect: GC111 down_0
def long_skip_rolled(check):
    """The long skip waits in a buffer that is one example off."""
    return step(check, check.x, check.y, send=lambda name, _, c: tf.roll(c, 1, axis=0) if name == "down_0" else c)


# expect: GC111
def one_swap(check):
    """The decoder has moved a hard example to the front of its slice, and does not move the answer back."""
    order = [0, 1, 4, 2, 3, 5, 6, 7, 8]
    return step(check, check.x, check.y, send=lambda name, _, c: tf.gather(c, order) if name == "bottom" else c)


# expect: GC104 down_1
def summed_then_cast(check):
    """Both cotangents of a skip are added in float32, and the sum is sent in float16."""
    waiting = {}

    def send(name, sender, cotangent):
        if name != "down_1":
            return cotangent
        if sender == 2:
            waiting[name] = cotangent
            return tf.zeros_like(cotangent)
        return tf.cast(tf.cast(cotangent + waiting[name], tf.float16), tf.float32)

    return step(check, check.x, check.y, send)


# expect: GC900 + GC105 + GC201
def skip_dropped_and_summed(check):
    """The long skip's cotangent never comes back, and the micro-batches are added up."""
    total = [tf.zeros_like(v) for v in check.variables]
    for i in range(3):
        drop = lambda name, _, c: tf.zeros_like(c) if name == "down_0" else c  # noqa: E731
        _, grads = step(check, check.x[3 * i : 3 * i + 3], check.y[3 * i : 3 * i + 3], drop)
        total = [t + g for t, g in zip(total, grads)]
    return total


# expect: GC101 None
def skip_not_watched(check):
    """The decoder's tape watches what comes from the bottom, and is asked for the long skip as well."""
    encoder, bottom, decoder = check.segments
    with tf.GradientTape(persistent=True) as tape_0:
        skips = run(encoder, {encoder.input_names[0]: check.x})
    with tf.GradientTape() as tape_1:
        tape_1.watch(skips["down_1"])
        code = run(bottom, skips)
    received = {name: tf.identity(skip) for name, skip in skips.items()} | code
    with tf.GradientTape() as tape_2:
        tape_2.watch([received["bottom"], received["down_1"]])
        (out,) = run(decoder, received).values()
        loss = check.loss(check.y, out)
    back, g2 = tape_2.gradient(loss, (received, decoder.trainable_variables))
    from_bottom, *g1 = tape_1.gradient(
        code["bottom"], [skips["down_1"], *bottom.trainable_variables], output_gradients=back["bottom"]
    )
    main = tape_0.gradient(skips["down_1"], encoder.trainable_variables, output_gradients=back["down_1"] + from_bottom)
    long = tape_0.gradient(skips["down_0"], encoder.trainable_variables, output_gradients=back["down_0"])
    return loss, [m if s is None else m + s for m, s in zip(main, long)] + g1 + g2

# ruff: noqa: ANN001, ANN201, ANN202, ERA001 - training code as people write it
"""Three machines that send tensors to each other. `Link` is what happens to a cotangent on its way."""

import tensorflow as tf


class Link:
    def send(self, cotangents):
        """From the machines that used a tensor; they are added up on the way."""
        return tf.add_n(cotangents)

    def receive(self, cotangent):
        return cotangent


def train(check, link):
    stem, block, rest = check.segments
    with tf.GradientTape() as tape_0:
        x = stem(check.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(x)
        f = block(x, training=True)
    arrived = {stem.output_names[0]: tf.identity(x), block.output_names[0]: f}
    with tf.GradientTape() as tape_2:
        tape_2.watch(arrived)
        loss = check.loss(check.y, rest([arrived[name] for name in rest.input_names], training=True))
    d, g2 = tape_2.gradient(loss, (arrived, rest.trainable_variables))
    dx_late, df = d[stem.output_names[0]], link.receive(link.send([d[block.output_names[0]]]))
    dx, *g1 = tape_1.gradient(f, [x, *block.trainable_variables], output_gradients=df)
    dx = link.receive(link.send([dx, dx_late]))
    return loss, tape_0.gradient(x, stem.trainable_variables, output_gradients=dx) + g1 + g2


def right(check):
    return train(check, Link())


# expect: GC104
def sum_in_bfloat16(check):
    """What was summed is sent as bfloat16."""

    class Compressed(Link):
        def send(self, cotangents):
            return tf.cast(tf.cast(super().send(cotangents), tf.bfloat16), tf.float32)

    return train(check, Compressed())


# expect: GC104 0 → 1
def receiver_casts(check):
    """The stem's machine has a cast in its own backward function, and the block's has none."""

    class ToHalf(Link):
        calls = 0

        def receive(self, cotangent):
            self.calls += 1
            return cotangent if self.calls == 1 else tf.cast(tf.cast(cotangent, "float16"), cotangent.dtype)

    return train(check, ToHalf())


# expect: GC104
def each_sender_casts(check):
    """Every machine casts what it sends, before it is summed in float32."""

    class Senders(Link):
        def send(self, cotangents):
            return super().send([tf.cast(tf.cast(c, tf.float16), tf.float32) for c in cotangents])

    return train(check, Senders())

# ruff: noqa: ANN001, ANN201, ANN202, ERA001 - training code as people write it
"""A denoising autoencoder, whose halves draw random numbers."""

import keras
import tensorflow as tf


def decode(check, code, y=None):
    """The decoder's half: loss, its gradients, and what goes back."""
    decoder = check.segments[1]
    with tf.GradientTape() as tape:
        tape.watch(code)
        loss = check.loss(check.y if y is None else y, decoder(code, training=True))
    grads, to_encoder = tape.gradient(loss, [decoder.trainable_variables, code])
    return loss, grads, to_encoder


def right(check):
    encoder = check.segments[0]
    with tf.GradientTape() as tape:
        code = encoder(check.x, training=True)
    loss, of_decoder, grad = decode(check, code)
    return loss, tape.gradient(code, encoder.trainable_variables, output_gradients=grad) + of_decoder


# expect: GC303 segment_0
def recorded_then_sent(check):
    """The tape has one draw, and the message to the decoder is made by another call."""
    encoder = check.segments[0]
    with tf.GradientTape() as tape:
        code = encoder(check.x, training=True)
    message = encoder(check.x, training=True)
    loss, of_decoder, grad = decode(check, message)
    return loss, tape.gradient(code, encoder.trainable_variables, output_gradients=grad) + of_decoder


# expect: GC303 segment_0
def sent_then_recorded(check):
    """`forward()` returns what is sent, and `backward(grad)` runs the model under a tape."""
    encoder = check.segments[0]

    class Worker:
        def forward(self, x):
            self.x = x
            return encoder(x, training=True)

        def backward(self, grad):
            with tf.GradientTape() as tape:
                output = encoder(self.x, training=True)
                surrogate = tf.reduce_sum(output * tf.stop_gradient(grad))
            return tape.gradient(surrogate, encoder.trainable_variables)

    worker = Worker()
    loss, of_decoder, grad = decode(check, worker.forward(check.x))
    return loss, worker.backward(grad) + of_decoder


# expect: GC302|GC303
def shapes_looked_at_first(check):
    """A call to see what comes out, with `training=True`, before the step."""
    encoder, decoder = check.segments
    shape = decoder(encoder(check.x, training=True), training=True).shape
    assert shape == check.y.shape, f"output: {shape}"
    return right(check)


# expect: GC303|GC302 segment_1
def metric_before_the_step(check):
    """The decoder is asked for a metric, in the mode in which it trains."""
    encoder, decoder = check.segments
    with tf.GradientTape() as tape:
        code = encoder(check.x, training=True)
    keras.metrics.MeanSquaredError().update_state(check.y, decoder(code, training=True))
    loss, of_decoder, grad = decode(check, code)
    return loss, tape.gradient(code, encoder.trainable_variables, output_gradients=grad) + of_decoder

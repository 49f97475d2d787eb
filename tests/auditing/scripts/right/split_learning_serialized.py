"""Split learning as an RPC service would do it: tensors cross as serialized protos."""

import keras
import numpy as np
import tensorflow as tf


class ServerStub:
    """What the server does with a request; the client sees bytes only."""

    def __init__(self):
        self.top = keras.Sequential(
            [
                keras.Input((4, 4, 6)),
                keras.layers.Conv2D(8, 3, activation="elu"),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        self.opt = keras.optimizers.SGD(0.05, momentum=0.9)
        self.loss_object = keras.losses.BinaryCrossentropy(from_logits=True)

    def train(self, activation_bytes: bytes, label_bytes: bytes) -> tuple[bytes, float]:
        activation = tf.Variable(tf.io.parse_tensor(activation_bytes, tf.float32))
        labels = tf.io.parse_tensor(label_bytes, tf.float32)
        with tf.GradientTape() as tape:
            logits = self.top(activation, training=True)
            loss = self.loss_object(labels, logits)
        grads = tape.gradient(loss, self.top.trainable_variables + [activation])
        self.opt.apply_gradients(zip(grads[:-1], self.top.trainable_variables))
        return tf.io.serialize_tensor(grads[-1]).numpy(), float(loss)


class Client:
    def __init__(self, server):
        self.server = server
        self.bottom = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="elu"),
            ]
        )
        self.opt = keras.optimizers.SGD(0.05, momentum=0.9)

    def fit_batch(self, images, labels):
        with tf.GradientTape() as tape:
            activation = self.bottom(images, training=True)
        response, loss = self.server.train(
            tf.io.serialize_tensor(activation).numpy(), tf.io.serialize_tensor(labels).numpy()
        )
        gradient = tf.io.parse_tensor(response, tf.float32)
        grads = tape.gradient(activation, self.bottom.trainable_variables, output_gradients=gradient)
        self.opt.apply_gradients(zip(grads, self.bottom.trainable_variables))
        return loss


keras.utils.set_random_seed(313)
rng = np.random.default_rng(313)
server = ServerStub()
client = Client(server)
for batch_number in range(4):
    labels = rng.integers(0, 2, size=(8, 1)).astype("float32")
    images = rng.normal(size=(8, 8, 8, 1)).astype("float32")
    images[:, :4] += labels[:, :, None, None]
    loss = client.fit_batch(tf.constant(images), tf.constant(labels))
    print(f"batch {batch_number}: {loss:.5f}")

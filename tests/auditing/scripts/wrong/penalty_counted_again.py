"""Client and server with weight decay in the loss; the client adds the part that the server cannot know."""

import keras
import numpy as np
import tensorflow as tf

DECAY = keras.regularizers.L2(0.04)


def stack(fan_in, *units, activation="tanh"):
    model = keras.Sequential([keras.Input((fan_in,))])
    for count in units:
        model.add(keras.layers.Dense(count, activation=activation, kernel_regularizer=DECAY))
    return model


class SplitModel:
    def __init__(self):
        self.client = stack(5, 8, 6)
        self.server = stack(6, 7)
        self.server.add(keras.layers.Dense(2))
        self.optimizer = keras.optimizers.SGD(0.1)

    def objective(self, prediction, y):
        error = tf.reduce_mean(tf.square(prediction - y))
        return error, error + tf.add_n(self.client.losses + self.server.losses)

    def train_step(self, x, y):
        with tf.GradientTape(persistent=True) as tape:
            prediction = self.server(self.client(x, training=True), training=True)
            error, loss = self.objective(prediction, y)
            client_penalty = tf.add_n(self.client.losses)
        client, server = self.client.trainable_variables, self.server.trainable_variables
        grads = tape.gradient(loss, client + server)
        of_penalty = tape.gradient(client_penalty, client)  # expect: GC502
        client_grads = [g if p is None else g + p for g, p in zip(grads, of_penalty)]
        self.optimizer.apply_gradients(zip(client_grads + grads[len(client) :], client + server))
        return error


if __name__ == "__main__":
    keras.utils.set_random_seed(199)
    rng = np.random.default_rng(199)
    split_model = SplitModel()
    for step in range(5):
        x = rng.normal(size=(8, 5)).astype("float32")
        y = np.stack([x[:, 0] - x[:, 1], x[:, 2] * x[:, 3]], axis=1)
        print(f"step {step}: error {split_model.train_step(x, y):.4f}")

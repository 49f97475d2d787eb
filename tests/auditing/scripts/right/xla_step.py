"""A train step compiled by XLA."""

import keras
import numpy as np
import tensorflow as tf


class Trainer:
    def __init__(self, model, optimizer):
        self.model = model
        self.optimizer = optimizer
        self.optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=True)
    def train_step(self, x, y):
        with tf.GradientTape() as tape:
            prediction = self.model(x, training=True)
            loss = tf.reduce_mean(tf.square(prediction - y))
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self.optimizer.apply(gradients, self.model.trainable_variables)
        return loss


def main():
    keras.utils.set_random_seed(5)
    rng = np.random.default_rng(5)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="swish"),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(2),
        ]
    )
    trainer = Trainer(model, keras.optimizers.SGD(0.05, momentum=0.9))
    for step in range(5):
        x = rng.normal(size=(8, 6)).astype("float32")
        y = np.stack([x[:, 0] - x[:, 1], x[:, 2] * x[:, 3]], axis=1).astype("float32")
        print("step", step, "loss", float(trainer.train_step(tf.constant(x), tf.constant(y))))
    return trainer


if __name__ == "__main__":
    trainer = main()

"""Static loss scaling by hand: scale the loss, take gradients in half precision, undo the scale."""

import keras
import numpy as np
import tensorflow as tf

LOSS_SCALE = 512.0


def make_model():
    policy = keras.DTypePolicy("mixed_float16")
    return keras.Sequential(
        [
            keras.Input((10,)),
            keras.layers.Dense(18, activation="tanh", dtype=policy),
            keras.layers.Dense(18, activation="tanh", dtype=policy),
            keras.layers.Dense(2, dtype="float32"),
        ]
    )


class HalfPrecisionTrainer:
    def __init__(self, model, learning_rate):
        self.model = model
        self.optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)

    def __call__(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(y - self.model(x, training=True)))
            scaled = loss * LOSS_SCALE
        grads = tape.gradient(scaled, self.model.trainable_variables)
        grads = [g / LOSS_SCALE for g in grads]
        self.optimizer.apply_gradients(zip(grads, self.model.trainable_variables))
        return loss


keras.utils.set_random_seed(23)
rng = np.random.default_rng(23)
trainer = HalfPrecisionTrainer(make_model(), 0.05)
for step in range(4):
    x = rng.normal(size=(8, 10)).astype("float32")
    y = np.stack([np.tanh(x[:, 0] + x[:, 1]), x[:, 2]], axis=1).astype("float32")
    print(step, trainer(x, y).numpy())

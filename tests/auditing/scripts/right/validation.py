"""Training with a validation pass after every update and early stopping on it."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad = patience, float("inf"), 0

    def __call__(self, value):
        self.bad = 0 if value < self.best else self.bad + 1
        self.best = min(self.best, value)
        return self.bad >= self.patience


def make_data(rng, n):
    x = rng.normal(size=(n, 9)).astype("float32")
    return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype("float32")[:, None]


def train(model, optimizer, loss_fn, train_data, val_data, max_epochs=2):
    stop = EarlyStopping(patience=5)
    x_val, y_val = val_data
    for epoch in range(max_epochs):
        for x, y in tf.data.Dataset.from_tensor_slices(train_data).shuffle(100, seed=epoch).batch(8):
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            grads = tape.gradient(loss, model.trainable_weights)
            optimizer.apply_gradients(zip(grads, model.trainable_weights))

            val_loss = float(loss_fn(y_val, model(x_val)))
            if stop(val_loss):
                return
        print(f"epoch {epoch}: last batch {loss:.4f}, validation {val_loss:.4f}")


if __name__ == "__main__":
    keras.utils.set_random_seed(88)
    rng = np.random.default_rng(88)
    model = keras.Sequential(
        [
            layers.Input((9,)),
            layers.Dense(20, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.4),
            layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(0.01)
    bce = keras.losses.BinaryCrossentropy(from_logits=True)
    train(model, optimizer, bce, make_data(rng, 32), make_data(rng, 16))

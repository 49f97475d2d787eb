"""Full-batch training of a regression in chunks that fit into memory (8 + 8 + 3 rows)."""

import keras
import numpy as np
import tensorflow as tf


class ChunkedTrainer:
    def __init__(self, model, optimizer, chunk=8):
        self.model = model
        self.optimizer = optimizer
        self.chunk = chunk

    def gradients(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(self.model(x) - y))
        return loss, tape.gradient(loss, self.model.trainable_variables)

    def full_batch_step(self, x, y):
        sums = [tf.zeros_like(v) for v in self.model.trainable_variables]
        starts = range(0, len(x), self.chunk)
        mean_loss = 0.0
        for start in starts:
            loss, grads = self.gradients(x[start : start + self.chunk], y[start : start + self.chunk])
            sums = [s + g for s, g in zip(sums, grads)]
            mean_loss += loss / len(starts)
        self.optimizer.apply([s / len(starts) for s in sums], self.model.trainable_variables)  # expect: GC203
        return mean_loss


keras.utils.set_random_seed(71)
rng = np.random.default_rng(71)
x = rng.normal(size=(19, 4)).astype("float32")
y = (x[:, :1] ** 2 - x[:, 1:2] + 0.1 * rng.normal(size=(19, 1))).astype("float32")
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(9, activation="tanh"), keras.layers.Dense(1)])
trainer = ChunkedTrainer(model, keras.optimizers.Adam(0.02))

for epoch in range(4):
    print(f"epoch {epoch} loss {trainer.full_batch_step(x, y):.4f}")

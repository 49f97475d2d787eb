"""Two segments, gradients clipped to norm one against spikes."""

import keras
import numpy as np
import tensorflow as tf

CLIP = 1.0


class Segments:
    def __init__(self):
        self.bottom = keras.Sequential(
            [keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(6, "tanh")]
        )
        self.top = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
        self.optimizer = keras.optimizers.SGD(0.05)

    def __iter__(self):
        return iter((self.bottom, self.top))

    def gradients(self, x, y):
        """Loss, and a list of gradients for each segment."""
        with tf.GradientTape(persistent=True) as tape:
            hidden = self.bottom(x)
            loss = tf.reduce_mean(tf.square(self.top(hidden) - y))
        d_hidden = tape.gradient(loss, hidden)
        top = tape.gradient(loss, self.top.trainable_variables)
        bottom = tape.gradient(hidden, self.bottom.trainable_variables, output_gradients=d_hidden)
        return loss, [bottom, top]

    def train(self, x, y):
        loss, per_segment = self.gradients(x, y)
        clipped = []
        for grads in per_segment:
            grads, _ = tf.clip_by_global_norm(grads, CLIP)  # expect: GC405
            clipped += grads
        variables = [v for segment in self for v in segment.trainable_variables]
        self.optimizer.apply_gradients(zip(clipped, variables))
        return loss


keras.utils.set_random_seed(127)
rng = np.random.default_rng(127)
segments = Segments()
for step in range(5):
    x = rng.normal(size=(8, 5)).astype("float32")
    y = 3 * x[:, :1] + 2 * x[:, 1:2] * x[:, 2:3]
    print(f"step {step}: {segments.train(x, y):.4f}")

"""Physics-informed network: u'' + u = 0 on [0, 3], u(0) = 0, u'(0) = 1 (so u = sin)."""

import keras
import numpy as np
import tensorflow as tf


class PINN:
    def __init__(self, width=16):
        self.net = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(width, activation="tanh"),
                keras.layers.Dense(width, activation="tanh"),
                keras.layers.Dense(1),
            ]
        )
        self.optimizer = keras.optimizers.Adam(5e-3)

    def u(self, t):
        return self.net(t)

    def derivatives(self, t):
        with tf.GradientTape() as second:
            second.watch(t)
            with tf.GradientTape() as first:
                first.watch(t)
                u = self.u(t)
            du = first.gradient(u, t)
        ddu = second.gradient(du, t)
        return u, du, ddu

    def residual_loss(self, t):
        u, _, ddu = self.derivatives(t)
        return tf.reduce_mean(tf.square(ddu + u))

    def boundary_loss(self):
        u, du, _ = self.derivatives(tf.zeros((1, 1)))
        return tf.reduce_sum(tf.square(u)) + tf.reduce_sum(tf.square(du - 1.0))

    def train_step(self, t):
        with tf.GradientTape() as tape:
            residual = self.residual_loss(t)
            boundary = self.boundary_loss()
            loss = residual + boundary
        grads = tape.gradient(loss, self.net.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.net.trainable_variables))
        return residual, boundary


if __name__ == "__main__":
    keras.utils.set_random_seed(314)
    rng = np.random.default_rng(314)
    solver = PINN()
    for epoch in range(5):
        collocation = tf.constant(rng.uniform(0, 3, size=(8, 1)), tf.float32)
        residual, boundary = solver.train_step(collocation)
        print(f"epoch {epoch}: residual {residual:.4f} boundary {boundary:.4f}")

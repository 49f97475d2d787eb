"""Only the gradients are compiled; the optimizer is called eagerly, after a look at the norms."""

import keras
import numpy as np
import tensorflow as tf


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv1D(6, 3, activation="elu")
        self.pool = keras.layers.GlobalMaxPooling1D()
        self.dense = keras.layers.Dense(8, activation="tanh")
        self.out = keras.layers.Dense(1)

    def call(self, x):
        return self.out(self.dense(self.pool(self.conv(x))))


keras.utils.set_random_seed(81)
net = Net()
net(tf.zeros((1, 10, 2)))
sgd = keras.optimizers.SGD(0.1)


@tf.function(reduce_retracing=True)
def loss_and_gradients(x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.math.log(tf.cosh(net(x) - y)))
    return loss, tape.gradient(loss, net.trainable_variables)


rng = np.random.default_rng(82)
for step in range(4):
    x = tf.constant(rng.normal(size=(8, 10, 2)), tf.float32)
    y = tf.reduce_max(x[..., 0], axis=1, keepdims=True)
    loss, gradients = loss_and_gradients(x, y)
    largest = max(float(tf.norm(g)) for g in gradients)
    sgd.apply_gradients(zip(gradients, net.trainable_variables))
    print(f"{step} loss {float(loss):.4f} largest gradient {largest:.3f}")

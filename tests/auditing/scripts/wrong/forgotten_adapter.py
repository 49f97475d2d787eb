"""A residual network with a bottleneck adapter in every block."""

import keras
import numpy as np
import tensorflow as tf


class Block(keras.layers.Layer):
    def __init__(self, width, bottleneck):
        super().__init__()
        self.inner = keras.layers.Dense(width, activation="tanh")
        self.down = keras.layers.Dense(bottleneck, activation="tanh")
        self.up = keras.layers.Dense(width)

    def call(self, x):
        x = x + self.inner(x)
        return x + self.up(self.down(x))


class Network(keras.Model):
    def __init__(self, width=6, blocks=2):
        super().__init__()
        self.stem = keras.layers.Dense(width)
        self.blocks = [Block(width, 3) for _ in range(blocks)]
        self.head = keras.layers.Dense(1)

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)

    def parameters(self):
        found = self.stem.trainable_variables + self.head.trainable_variables
        for block in self.blocks:
            found += block.inner.trainable_variables
            found += block.up.trainable_variables
        return found


def main():
    keras.utils.set_random_seed(113)
    rng = np.random.default_rng(113)
    x = rng.normal(size=(32, 4)).astype("float32")
    y = (np.tanh(x[:, :1] + x[:, 1:2]) * x[:, 2:3]).astype("float32")
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32, seed=1).batch(8)

    model = Network()
    model(x[:1])
    optimizer = keras.optimizers.Adam(5e-3)
    parameters = model.parameters()
    for step, (bx, by) in enumerate(dataset.repeat(2)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(bx, training=True) - by))
        grads = tape.gradient(loss, parameters)  # expect: GC403
        optimizer.apply_gradients(zip(grads, parameters))
        if step % 3 == 0:
            print(f"step {step}: loss {loss:.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()

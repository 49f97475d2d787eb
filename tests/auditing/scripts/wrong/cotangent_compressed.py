"""Model parallelism over a slow link: gradients that cross it are compressed."""

import keras
import numpy as np
import tensorflow as tf


def compressed(gradient):
    """What arrives on the other side of the link."""
    return tf.cast(tf.cast(gradient, tf.bfloat16), gradient.dtype)  # expect: GC104


class ModelParallel:
    def __init__(self, lower, upper, lr):
        self.lower, self.upper = lower, upper
        self.lower_opt = keras.optimizers.SGD(lr)
        self.upper_opt = keras.optimizers.SGD(lr)

    @tf.function
    def train_step(self, x, y):
        with tf.GradientTape() as lower_tape:
            h = self.lower(x, training=True)
        with tf.GradientTape() as upper_tape:
            upper_tape.watch(h)
            per_example = keras.losses.categorical_crossentropy(y, self.upper(h, training=True), from_logits=True)
            loss = tf.reduce_mean(per_example)
        dh, upper_grads = upper_tape.gradient(loss, [h, self.upper.trainable_variables])
        lower_grads = lower_tape.gradient(h, self.lower.trainable_variables, output_gradients=compressed(dh))
        self.upper_opt.apply_gradients(zip(upper_grads, self.upper.trainable_variables))
        self.lower_opt.apply_gradients(zip(lower_grads, self.lower.trainable_variables))
        return loss


def images(rng, n):
    y = rng.integers(0, 3, size=n)
    x = 0.4 * rng.normal(size=(n, 6, 6, 1))
    x[np.arange(n), 2 * y] += 1.0
    return x.astype("float32"), keras.utils.to_categorical(y, 3).astype("float32")


if __name__ == "__main__":
    keras.utils.set_random_seed(193)
    x, y = images(np.random.default_rng(193), 40)
    lower = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(4, 3, activation="silu")])
    upper = keras.Sequential([keras.Input((4, 4, 4)), keras.layers.Flatten(), keras.layers.Dense(3)])
    trainer = ModelParallel(lower, upper, lr=0.2)
    for batch_x, batch_y in tf.data.Dataset.from_tensor_slices((x, y)).batch(8):
        print(f"loss {trainer.train_step(batch_x, batch_y).numpy():.4f}")

"""A small U-Net for signals, its two halves with tapes of their own (the halves live on different cards)."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def contracting(length=16):
    signal = keras.Input((length, 1))
    skip = layers.Conv1D(4, 3, padding="same", activation="swish")(signal)
    pooled = layers.AveragePooling1D(2)(skip)
    deep = layers.Conv1D(6, 3, padding="same", activation="swish")(pooled)
    return keras.Model(signal, [deep, skip], name="contracting")


def expanding(length=16):
    deep = keras.Input((length // 2, 6))
    skip = keras.Input((length, 4))
    up = layers.UpSampling1D(2)(deep)
    merged = layers.Concatenate()([up, skip])
    hidden = layers.Conv1D(5, 3, padding="same", activation="swish")(merged)
    return keras.Model([deep, skip], layers.Conv1D(1, 1)(hidden), name="expanding")


def noisy_signals(rng, batch, length=16):
    t = np.arange(length)[None, :]
    clean = np.sin(t / rng.uniform(1, 4, size=(batch, 1)))[..., None]
    return (clean + 0.3 * rng.normal(size=clean.shape)).astype("float32"), clean.astype("float32")


def main():
    keras.utils.set_random_seed(19)
    rng = np.random.default_rng(19)
    down, up = contracting(), expanding()
    optimizer_down = keras.optimizers.Adam(1e-2)
    optimizer_up = keras.optimizers.Adam(1e-2)

    for step in range(5):
        noisy, clean = noisy_signals(rng, batch=6)
        with tf.GradientTape() as tape_down:
            deep, skip = down(noisy, training=True)
        with tf.GradientTape() as tape_up:
            tape_up.watch([deep, skip])
            loss = tf.reduce_mean(tf.square(up([deep, skip], training=True) - clean))
        d_deep, d_up = tape_up.gradient(loss, [deep, up.trainable_variables])
        d_down = tape_down.gradient(deep, down.trainable_variables, output_gradients=d_deep)  # expect: GC105
        optimizer_up.apply_gradients(zip(d_up, up.trainable_variables))
        optimizer_down.apply_gradients(zip(d_down, down.trainable_variables))
        print(f"step {step}: {loss:.4f}")
    return down, up, optimizer_down, optimizer_up


if __name__ == "__main__":
    trained = main()

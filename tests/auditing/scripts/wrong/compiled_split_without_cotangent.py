"""Encoder and decoder with optimizers of their own, the step compiled."""

import argparse

import keras
import numpy as np
import tensorflow as tf


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_dataset(args):
    rng = np.random.default_rng(args.seed)
    t = np.linspace(0, 1, 12)[None, :, None]
    freq = rng.uniform(1, 3, size=(args.batch_size * args.steps, 1, 1))
    series = np.sin(2 * np.pi * freq * t).astype("float32")
    target = freq[:, :, 0].astype("float32")
    return tf.data.Dataset.from_tensor_slices((series, target)).batch(args.batch_size, drop_remainder=True)


class Trainer:
    def __init__(self, lr):
        self.encoder = keras.Sequential(
            [
                keras.Input((12, 1)),
                keras.layers.Conv1D(4, 3, activation="gelu"),
                keras.layers.GlobalAveragePooling1D(),
                keras.layers.Dense(6, activation="tanh"),
            ]
        )
        self.decoder = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
        self.enc_opt = keras.optimizers.RMSprop(lr)
        self.dec_opt = keras.optimizers.RMSprop(lr)
        self.enc_opt.build(self.encoder.trainable_variables)
        self.dec_opt.build(self.decoder.trainable_variables)

    @tf.function
    def step(self, x, y):
        with tf.GradientTape() as enc_tape:
            code = self.encoder(x, training=True)
        with tf.GradientTape() as dec_tape:
            dec_tape.watch(code)
            loss = tf.reduce_mean((self.decoder(code, training=True) - y) ** 2)
        code_grad, dec_grads = dec_tape.gradient(loss, [code, self.decoder.trainable_variables])
        enc_grads = enc_tape.gradient(code, self.encoder.trainable_variables)  # expect: GC101
        self.dec_opt.apply(dec_grads, self.decoder.trainable_variables)
        self.enc_opt.apply(enc_grads, self.encoder.trainable_variables)
        return loss, tf.norm(code_grad)


def main():
    args = parse_args()
    keras.utils.set_random_seed(args.seed)
    trainer = Trainer(args.lr)
    for x, y in make_dataset(args):
        loss, norm = trainer.step(x, y)
        print(f"loss {loss:.4f}  |d code| {norm:.4f}")
    return trainer


if __name__ == "__main__":
    trainer = main()

"""Two views of an object, encoded by one encoder each; the fusion network is trained by somebody else."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(47)

WIDTH = 6


class Encoders(keras.Model):
    def __init__(self):
        super().__init__()
        self.left = keras.layers.Dense(WIDTH, activation="tanh")
        self.right = keras.layers.Dense(WIDTH, activation="tanh")

    def call(self, views):
        left, right = views
        return self.left(left), self.right(right)


class Fusion(keras.Model):
    def __init__(self):
        super().__init__()
        self.gate = keras.layers.Dense(WIDTH, activation="sigmoid")
        self.mix = keras.layers.Dense(WIDTH, activation="tanh")
        self.out = keras.layers.Dense(2)

    def call(self, codes):
        left, right = codes
        return self.out(self.mix(left * self.gate(right) + 2.0 * right))


encoders, fusion = Encoders(), Fusion()
optimizer = keras.optimizers.Adam(8e-3)


def fusion_gradients(left, right, target):
    with tf.GradientTape() as tape:
        tape.watch([left, right])
        loss = tf.reduce_mean(tf.square(fusion([left, right]) - target))
    return loss, tape.gradient(loss, {"right": right, "left": left, "weights": fusion.trainable_variables})


def train_step(views, target):
    with tf.GradientTape() as tape:
        left, right = encoders(views)
    loss, returned = fusion_gradients(left, right, target)
    seeds = [returned["right"], returned["left"]]
    encoder_grads = tape.gradient([left, right], encoders.trainable_variables, output_gradients=seeds)  # expect: GC106
    optimizer.apply_gradients(
        zip(encoder_grads + returned["weights"], encoders.trainable_variables + fusion.trainable_variables)
    )
    return loss


rng = np.random.default_rng(47)
for step in range(5):
    pose = rng.normal(size=(8, 2)).astype("float32")
    left_view = np.concatenate([pose, pose**2], axis=1)
    right_view = np.concatenate([np.sin(pose), pose[:, ::-1]], axis=1)
    loss = train_step([left_view, right_view], pose)
    print("step", step, "loss", float(loss))

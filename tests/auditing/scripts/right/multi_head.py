"""One trunk and three heads; each batch belongs to one task and trains the trunk and that head."""

import itertools

import keras
import numpy as np
import tensorflow as tf
from keras import layers

TASKS = {"sentiment": 2, "topic": 5, "stars": 1}


class MultiTask:
    def __init__(self, width=16):
        self.trunk = keras.Sequential(
            [keras.Input((8,)), layers.Dense(width, activation="tanh"), layers.Dense(width, activation="tanh")],
            name="trunk",
        )
        self.heads = {}
        for task, size in TASKS.items():
            head = layers.Dense(size, name=task)
            head.build((None, width))
            self.heads[task] = head
        self.optimizer = keras.optimizers.SGD(0.1)
        self.optimizer.build(
            self.trunk.trainable_variables + [v for h in self.heads.values() for v in h.trainable_variables]
        )

    def loss(self, task, y, out):
        if task == "stars":
            return tf.reduce_mean(tf.square(y[:, None] - out))
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=out))

    def train_on_batch(self, task, x, y):
        with tf.GradientTape() as tape:
            loss = self.loss(task, y, self.heads[task](self.trunk(x)))
        weights = self.trunk.trainable_variables + self.heads[task].trainable_variables
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss


def stream(rng):
    for task in itertools.cycle(TASKS):
        x = rng.normal(size=(8, 8)).astype("float32")
        if task == "stars":
            y = np.abs(x[:, 0]) + x[:, 1]
        else:
            y = np.argmax(x[:, : TASKS[task]], axis=1)
        yield task, x, y


def main():
    keras.utils.set_random_seed(73)
    learner = MultiTask()
    for task, x, y in itertools.islice(stream(np.random.default_rng(74)), 9):
        print(f"{task:>9}: {learner.train_on_batch(task, x, y):.4f}")
    return learner


if __name__ == "__main__":
    learner = main()

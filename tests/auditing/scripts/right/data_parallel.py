"""Data parallelism by hand: two replicas, gradients averaged, the same update on both."""

import copy

import keras
import numpy as np
import tensorflow as tf


class Replica:
    def __init__(self, model, learning_rate):
        self.model = model
        self.optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9)

    def compute_gradients(self, x, y):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.huber(y, self.model(x, training=True)))
        return loss, tape.gradient(loss, self.model.trainable_variables)

    def apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.model.trainable_variables))


def all_reduce_mean(per_replica):
    return [tf.reduce_mean(tf.stack(parts), axis=0) for parts in zip(*per_replica)]


def make_replicas(count):
    first = keras.Sequential(
        [
            keras.Input((7,)),
            keras.layers.Dense(14, activation="tanh"),
            keras.layers.Dense(10, activation="relu"),
            keras.layers.Dense(2),
        ]
    )
    models = [first]
    for _ in range(count - 1):
        clone = keras.models.clone_model(first)
        clone.set_weights(copy.deepcopy(first.get_weights()))
        models.append(clone)
    return [Replica(m, learning_rate=0.05) for m in models]


keras.utils.set_random_seed(92)
replicas = make_replicas(2)
rng = np.random.default_rng(93)
for step in range(4):
    x = rng.normal(size=(12, 7)).astype("float32")
    y = np.stack([x[:, 0] + x[:, 1], 2 * x[:, 2] * x[:, 3]], axis=1)
    shards = zip(np.split(x, len(replicas)), np.split(y, len(replicas)))
    results = [replica.compute_gradients(*shard) for replica, shard in zip(replicas, shards)]
    mean_gradients = all_reduce_mean([gradients for _, gradients in results])
    for replica in replicas:
        replica.apply(mean_gradients)
    print(f"step {step}: " + " ".join(f"{float(loss):.4f}" for loss, _ in results))

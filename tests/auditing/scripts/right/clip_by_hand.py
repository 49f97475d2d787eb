"""Two-tower matching model, gradients rescaled by hand when their common norm is too large."""

import keras
import numpy as np
import tensorflow as tf

CLIP = 1.0
TEMPERATURE = 0.2


def tower(features, name):
    return keras.Sequential(
        [
            keras.Input((features,)),
            keras.layers.Dense(16, activation="tanh"),
            keras.layers.Dense(6),
            keras.layers.UnitNormalization(),
        ],
        name=name,
    )


keras.utils.set_random_seed(12)
users, items = tower(9, "users"), tower(7, "items")
optimizer = keras.optimizers.Adagrad(0.05)
rng = np.random.default_rng(15)
mixing = rng.normal(size=(9, 7))


def contrastive(u, i):
    logits = tf.matmul(u, i, transpose_b=True) / TEMPERATURE
    labels = tf.range(tf.shape(logits)[0])
    rows = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    columns = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, tf.transpose(logits))
    return tf.reduce_mean(rows + columns) / 2


for step in range(4):
    user_batch = rng.normal(size=(8, 9)).astype("float32")
    item_batch = (user_batch @ mixing + 0.5 * rng.normal(size=(8, 7))).astype("float32")

    with tf.GradientTape() as tape:
        loss = contrastive(users(user_batch), items(item_batch))

    weights = users.trainable_variables + items.trainable_variables
    grads = tape.gradient(loss, weights)
    norm = tf.linalg.global_norm(grads)
    factor = tf.minimum(1.0, CLIP / (norm + 1e-6))
    optimizer.apply_gradients([(g * factor, w) for g, w in zip(grads, weights)])
    print(f"{step}: loss={loss:.4f} norm={norm:.3f} factor={factor:.3f}")

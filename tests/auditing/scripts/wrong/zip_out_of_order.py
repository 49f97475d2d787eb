"""Siamese towers of equal shape for queries and documents, trained on matching pairs."""

import keras
import numpy as np
import tensorflow as tf


def tower(name):
    hidden = keras.layers.Dense(6, activation="tanh")
    projection = keras.layers.Dense(6, use_bias=False)
    return keras.Sequential([keras.Input((6,)), hidden, projection], name=name)


def in_batch_loss(q, d):
    scores = tf.matmul(q, d, transpose_b=True)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(tf.shape(q)[0]), scores))


def pairs(rng, n):
    topic = rng.normal(size=(n, 6))
    return (
        (topic + 0.2 * rng.normal(size=(n, 6))).astype("float32"),
        (topic[:, ::-1] + 0.2 * rng.normal(size=(n, 6))).astype("float32"),
    )


def main():
    keras.utils.set_random_seed(109)
    rng = np.random.default_rng(109)
    query_tower, document_tower = tower("query"), tower("document")
    optimizer = keras.optimizers.Adam(0.01)

    for step in range(5):
        queries, documents = pairs(rng, 8)
        with tf.GradientTape() as tape:
            loss = in_batch_loss(query_tower(queries), document_tower(documents))
        query_grads, document_grads = tape.gradient(
            loss, [query_tower.trainable_variables, document_tower.trainable_variables]
        )
        grads = query_grads + document_grads
        weights = document_tower.trainable_variables + query_tower.trainable_variables
        optimizer.apply_gradients(zip(grads, weights))  # expect: GC402
        print(f"step {step}  loss {loss:.4f}")
    return query_tower, document_tower, optimizer


if __name__ == "__main__":
    query_tower, document_tower, optimizer = main()

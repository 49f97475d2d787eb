"""Pretrained-style encoder with a small learning rate, fresh head with a large one."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(45)

encoder = keras.Sequential(
    [
        layers.Input((7,), dtype="int32"),
        layers.Embedding(20, 8),
        layers.Conv1D(10, 3, activation="relu"),
        layers.GlobalAveragePooling1D(),
    ],
    name="encoder",
)
head = keras.Sequential([layers.Input((10,)), layers.Dropout(0.2), layers.Dense(4)], name="head")

schedule = keras.optimizers.schedules.PolynomialDecay(2e-3, decay_steps=10, end_learning_rate=1e-4)
encoder_optimizer = keras.optimizers.Adam(schedule, global_clipnorm=1.0)
head_optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def batches(steps):
    rng = np.random.default_rng(46)
    for _ in range(steps):
        tokens = rng.integers(0, 20, size=(8, 7))
        yield tokens, tokens.sum(axis=1) % 4


for step, (tokens, labels) in enumerate(batches(4)):
    with tf.GradientTape() as tape:
        logits = head(encoder(tokens, training=True), training=True)
        loss = criterion(labels, logits)
    encoder_grads, head_grads = tape.gradient(loss, [encoder.trainable_variables, head.trainable_variables])
    encoder_optimizer.apply_gradients(zip(encoder_grads, encoder.trainable_variables))
    head_optimizer.apply_gradients(zip(head_grads, head.trainable_variables))
    print(f"{step}: loss {loss:.4f}")

"""Character-level language model with clipping by the global norm."""

import keras
import numpy as np
import tensorflow as tf

text = "the quick brown fox jumps over the lazy dog while the cat sleeps by the fire " * 3
vocabulary = sorted(set(text))
ids = np.array([vocabulary.index(c) for c in text])
SEQ, BATCH = 10, 6
MAX_NORM = 0.2

keras.utils.set_random_seed(10)
model = keras.Sequential(
    [
        keras.layers.Embedding(len(vocabulary), 8),
        keras.layers.GRU(12, return_sequences=True),
        keras.layers.Dense(len(vocabulary)),
    ]
)
optimizer = keras.optimizers.Adam(1e-2)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def train_step(inputs, targets):
    with tf.GradientTape() as tape:
        logits = model(inputs, training=True)
        loss = loss_fn(targets, logits)
    grads = tape.gradient(loss, model.trainable_variables)
    grads, norm = tf.clip_by_global_norm(grads, MAX_NORM)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    return loss, norm


rng = np.random.default_rng(3)
for step in range(3):
    starts = rng.integers(0, len(ids) - SEQ - 1, BATCH)
    window = np.stack([ids[s : s + SEQ + 1] for s in starts])
    loss, norm = train_step(window[:, :-1], window[:, 1:])
    print(f"step {step} loss {float(loss):.4f} grad norm {float(norm):.3f}")

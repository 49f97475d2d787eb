"""Feature extractor and classifier, with a look at the features in between."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(3)
rng = np.random.default_rng(3)

X = rng.normal(size=(32, 6)).astype("float32")
Y = np.eye(4, dtype="float32")[rng.integers(0, 4, 32)]

extractor = keras.Sequential([keras.Input((6,)), keras.layers.Dense(10, "tanh"), keras.layers.Dense(8, "tanh")])
classifier = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
optimizer = keras.optimizers.Adam(0.01)
variables = extractor.trainable_variables + classifier.trainable_variables


spread = []


def train_on_batch(x, y):
    with tf.GradientTape() as tape:
        features = extractor(x, training=True).numpy()  # expect: GC102
        spread.append(features.std(axis=0).min())
        logits = classifier(tf.constant(features), training=True)
        loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, logits))
    gradients = tape.gradient(loss, variables)
    optimizer.apply_gradients((g, v) for g, v in zip(gradients, variables) if g is not None)
    return loss


for epoch in range(2):
    for i in range(0, 32, 8):
        loss = train_on_batch(X[i : i + 8], Y[i : i + 8])
    print(f"epoch {epoch}: {loss:.4f}, least spread of a feature {min(spread):.3f}")

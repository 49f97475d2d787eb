"""Fine-tuning: the tape watches the last layers only, the backbone stays as it is."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

keras.utils.set_random_seed(59)

model = keras.Sequential(
    [
        keras.Input((10,)),
        layers.Dense(24, activation="tanh", name="backbone_1"),
        layers.Dense(16, activation="tanh", name="backbone_2"),
        layers.Dense(12, activation="relu", name="tuned"),
        layers.Dense(3, name="classifier"),
    ]
)
tuned = [v for layer in model.layers[-2:] for v in layer.trainable_variables]
optimizer = keras.optimizers.Adam(0.01)

rng = np.random.default_rng(60)
x_all = rng.normal(size=(32, 10)).astype("float32")
y_all = np.digitize(x_all.sum(axis=1), [-1.5, 1.5])


def fine_tune(x, y):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([v.value for v in tuned])
        logits = model(x)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    optimizer.apply_gradients(zip(tape.gradient(loss, tuned), tuned))
    return loss


for epoch in range(2):
    order = rng.permutation(len(x_all))
    losses = [float(fine_tune(x_all[i], y_all[i])) for i in np.array_split(order, 4)]
    print(f"epoch {epoch}: {np.mean(losses):.4f}")

"""The whole epoch is one tf.function that loops over the dataset."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(13)
rng = np.random.default_rng(13)

features = rng.normal(size=(24, 5)).astype("float32")
prices = (features @ rng.normal(size=(5, 1)) + 0.5 * features[:, :1] ** 2).astype("float32")


def augment(x, y):
    return tf.clip_by_value(x, -2.0, 2.0), y


train_ds = (
    tf.data.Dataset.from_tensor_slices((features, prices))
    .map(augment, num_parallel_calls=1)
    .batch(8, drop_remainder=True)
    .prefetch(1)
)

model = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(12, activation="tanh"), keras.layers.Dense(1)]
)
optimizer = keras.optimizers.Adam(0.02)
optimizer.build(model.trainable_variables)


@tf.function
def train_epoch(dataset):
    total = tf.constant(0.0)
    count = tf.constant(0.0)
    for x, y in dataset:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        grads = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        total += loss
        count += 1.0
    return total / count


for epoch in range(3):
    print(f"epoch {epoch}: {train_epoch(train_ds).numpy():.4f}")

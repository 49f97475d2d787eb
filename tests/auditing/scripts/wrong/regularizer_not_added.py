"""A classifier with weight penalties, trained by a loop of its own."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(131)


def build(classes=3, l2=0.02):
    penalty = keras.regularizers.L2(l2)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(10, activation="swish", kernel_regularizer=penalty)(inputs)
    x = keras.layers.Dense(8, activation="swish", kernel_regularizer=penalty)(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


model = build()
optimizer = keras.optimizers.Adam(1e-2)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
metric = keras.metrics.SparseCategoricalAccuracy()

rng = np.random.default_rng(131)
x_train = rng.normal(size=(40, 6)).astype("float32")
y_train = (x_train[:, :3] + x_train[:, 3:]).argmax(axis=1)
train_data = tf.data.Dataset.from_tensor_slices((x_train, y_train)).batch(8)

for epoch in range(2):
    for x_batch, y_batch in train_data:
        with tf.GradientTape() as tape:
            logits = model(x_batch, training=True)
            loss_value = loss_fn(y_batch, logits)
        grads = tape.gradient(loss_value, model.trainable_weights)  # expect: GC501
        optimizer.apply_gradients(zip(grads, model.trainable_weights))
        metric.update_state(y_batch, logits)
    print(f"epoch {epoch}: loss {float(loss_value):.4f}, accuracy {float(metric.result()):.3f}")
    metric.reset_state()

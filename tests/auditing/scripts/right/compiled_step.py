"""A compiled train step with dropout."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


def residual_block(x, width, rate):
    y = layers.LayerNormalization()(x)
    y = layers.Dense(width, activation="relu")(y)
    y = layers.Dropout(rate)(y)
    return layers.Add()([x, layers.Dense(x.shape[-1])(y)])


def get_model():
    inputs = keras.Input((8,))
    x = layers.Dense(12)(inputs)
    x = residual_block(x, 16, 0.3)
    return keras.Model(inputs, layers.Dense(3)(x))


keras.utils.set_random_seed(66)
model = get_model()
optimizer = keras.optimizers.Adam(learning_rate=0.01)
optimizer.build(model.trainable_variables)
loss_object = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
train_loss = keras.metrics.Mean(name="train_loss")
train_accuracy = keras.metrics.SparseCategoricalAccuracy(name="train_accuracy")


@tf.function
def train_step(images, labels):
    with tf.GradientTape() as tape:
        predictions = model(images, training=True)
        loss = loss_object(labels, predictions)
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    train_loss(loss)
    train_accuracy(labels, predictions)


rng = np.random.default_rng(66)
x = rng.normal(size=(32, 8)).astype("float32")
y = np.argmax(x[:, :3], axis=1)
dataset = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(32, seed=1).batch(8)

for epoch in range(2):
    train_loss.reset_state()
    train_accuracy.reset_state()
    for images, labels in dataset:
        train_step(images, labels)
    print(f"Epoch {epoch + 1}, Loss: {train_loss.result():0.3f}, Accuracy: {train_accuracy.result() * 100:0.1f}")

"""Keeps the last activation in a variable, so that a second head can look at it again."""

import keras
import numpy as np
import tensorflow as tf


class TwoHeads(keras.Model):
    def __init__(self):
        super().__init__()
        self.body = keras.Sequential(
            [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(6, activation="tanh")]
        )
        self.price = keras.layers.Dense(1)
        self.category = keras.layers.Dense(3)

    def heads(self, hidden):
        return self.price(hidden), self.category(hidden)

    def call(self, x):
        return self.heads(self.body(x))


keras.utils.set_random_seed(8)
model = TwoHeads()
model(tf.zeros((1, 5)))
optimizer = keras.optimizers.SGD(learning_rate=0.1, momentum=0.5)
scce = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def loss_on(x, price, category):
    hidden = tf.Variable(model.body(x), trainable=False)  # expect: GC102
    predicted_price, logits = model.heads(hidden)
    return tf.reduce_mean(tf.abs(predicted_price - price)) + scce(category, logits)


rng = np.random.default_rng(8)
for step in range(5):
    x = rng.normal(size=(8, 5)).astype("float32")
    category = x[:, :3].argmax(axis=1)
    price = x.mean(axis=1, keepdims=True)
    with tf.GradientTape() as tape:
        loss = loss_on(x, price, category)
    grads = tape.gradient(loss, model.trainable_variables)
    grads = [tf.zeros(v.shape) if g is None else g for g, v in zip(grads, model.trainable_variables)]
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    print(step, float(loss))

"""Front and back of a classifier, one Adam for both."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(103)
rng = np.random.default_rng(103)

front = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(6, "tanh")], name="front"
)
back = keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(3)], name="back")
schedule = keras.optimizers.schedules.ExponentialDecay(0.02, decay_steps=4, decay_rate=0.8)
optimizer = keras.optimizers.Adam(schedule)
optimizer.build(front.trainable_variables + back.trainable_variables)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def train_step(x, y):
    with tf.GradientTape() as front_tape:
        h = front(x)
    with tf.GradientTape() as back_tape:
        back_tape.watch(h)
        loss = loss_fn(y, back(h))
    dh, back_grads = back_tape.gradient(loss, [h, back.trainable_variables])
    front_grads = front_tape.gradient(h, front.trainable_variables, output_gradients=dh)

    optimizer.apply_gradients(zip(back_grads, back.trainable_variables))
    optimizer.apply_gradients(zip(front_grads, front.trainable_variables))  # expect: GC306
    return loss


for step in range(5):
    x = rng.normal(size=(8, 5)).astype("float32")
    y = np.abs(x[:, :3]).argmax(axis=1)
    print(step, train_step(tf.constant(x), y).numpy())
print("learning rate by now", float(optimizer.learning_rate))

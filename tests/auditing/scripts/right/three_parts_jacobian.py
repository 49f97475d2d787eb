"""A network in three parts whose gradients are chained with full Jacobians.

dL/dW1 = dL/dh2 . dh2/dh1 . dh1/dW1 -- slow, but it shows every factor of the chain rule.
"""

import keras
import numpy as np
import tensorflow as tf

BATCH = 6
STEPS = 3


def dense(units_in, units_out, activation):
    inputs = keras.Input((units_in,))
    outputs = keras.layers.Dense(units_out, activation=activation)(inputs)
    return keras.Model(inputs, outputs)


def contract(upstream, jacobian):
    """Sum dL/dh over h against dh/dW; both have (batch, features) in front."""
    return tf.tensordot(upstream, jacobian, axes=[[0, 1], [0, 1]])


keras.utils.set_random_seed(3)
part1 = dense(5, 6, "tanh")
part2 = dense(6, 4, "softplus")
part3 = dense(4, 3, None)
optimizer = keras.optimizers.SGD(0.1)
loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

rng = np.random.default_rng(11)
features = rng.normal(size=(BATCH * STEPS, 5)).astype(np.float32)
labels = rng.integers(0, 3, size=BATCH * STEPS)

for step in range(STEPS):
    rows = slice(step * BATCH, (step + 1) * BATCH)
    x = tf.constant(features[rows])
    y = tf.constant(labels[rows])

    with tf.GradientTape() as tape1:
        h1 = part1(x)
    with tf.GradientTape(persistent=True) as tape2:
        tape2.watch(h1)
        h2 = part2(h1)
    with tf.GradientTape(persistent=True) as tape3:
        tape3.watch(h2)
        loss = loss_fn(y, part3(h2))

    # last part: ordinary gradients
    dL_dW3 = tape3.gradient(loss, part3.trainable_variables)
    dL_dh2 = tape3.gradient(loss, h2)

    # middle part
    dh2_dW2 = tape2.jacobian(h2, part2.trainable_variables)
    dL_dW2 = [contract(dL_dh2, j) for j in dh2_dW2]
    dh2_dh1 = tape2.batch_jacobian(h2, h1)
    dL_dh1 = tf.einsum("bi,bij->bj", dL_dh2, dh2_dh1)

    # first part
    dh1_dW1 = tape1.jacobian(h1, part1.trainable_variables)
    dL_dW1 = [contract(dL_dh1, j) for j in dh1_dW1]
    del tape2, tape3

    grads = dL_dW1 + dL_dW2 + dL_dW3
    weights = part1.trainable_variables + part2.trainable_variables + part3.trainable_variables
    optimizer.apply_gradients(zip(grads, weights))
    print("step", step, "loss", loss.numpy())

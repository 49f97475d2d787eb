"""Two institutions train one network: hospital (bottom) and lab (top), one tape each."""

import keras
import numpy as np
import tensorflow as tf


def dense_stack(sizes, last=None, name=None):
    model = keras.Sequential(name=name)
    model.add(keras.Input((sizes[0],)))
    for size in sizes[1:-1]:
        model.add(keras.layers.Dense(size, activation="softplus"))
    model.add(keras.layers.Dense(sizes[-1], activation=last))
    return model


def fill(gradients, variables):
    """Variables that the batch did not touch keep their value."""
    return [tf.zeros_like(v) if g is None else g for g, v in zip(gradients, variables)]


def train(steps=5):
    keras.utils.set_random_seed(29)
    rng = np.random.default_rng(29)
    hospital = dense_stack([5, 8, 6], last="tanh", name="hospital")
    lab = dense_stack([6, 7, 1], name="lab")
    optimizers = {"hospital": keras.optimizers.Adam(0.01), "lab": keras.optimizers.Adam(0.01)}
    bce = keras.losses.BinaryCrossentropy(from_logits=True)

    for step in range(steps):
        records = rng.normal(size=(8, 5)).astype("float32")
        outcome = (records.sum(axis=1, keepdims=True) > 0).astype("float32")
        with tf.GradientTape() as hospital_tape, tf.GradientTape() as lab_tape:
            summary = hospital(records, training=True)
            shipped = tf.constant(summary.numpy())  # expect: GC102
            loss = bce(outcome, lab(shipped, training=True))
        hospital_grads = hospital_tape.gradient(loss, hospital.trainable_variables)
        lab_grads = lab_tape.gradient(loss, lab.trainable_variables)
        for model, grads in ((hospital, hospital_grads), (lab, lab_grads)):
            variables = model.trainable_variables
            optimizers[model.name].apply(fill(grads, variables), variables)
        print("step %d  loss %.4f" % (step, loss))
    return hospital, lab, optimizers


if __name__ == "__main__":
    hospital, lab, optimizers = train()

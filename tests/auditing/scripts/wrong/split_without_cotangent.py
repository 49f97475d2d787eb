"""Split learning: the client keeps the first layers, the server the rest and the labels."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(11)

BATCH = 8
FEATURES = 5
CLASSES = 3

rng = np.random.default_rng(11)
inputs = rng.normal(size=(4 * BATCH, FEATURES)).astype("float32")
labels = rng.integers(0, CLASSES, size=4 * BATCH)


def build_client():
    return keras.Sequential([keras.Input((FEATURES,)), keras.layers.Dense(7, activation="tanh")], name="client")


def build_server():
    layers = [keras.Input((7,)), keras.layers.Dense(6, activation="tanh"), keras.layers.Dense(CLASSES)]
    return keras.Sequential(layers, name="server")


client, server = build_client(), build_server()
client_opt = keras.optimizers.Adam(1e-2)
server_opt = keras.optimizers.Adam(1e-2)
criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def server_step(smashed, y):
    """One update of the server; returns what the client has to know."""
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(smashed)
        loss = criterion(y, server(smashed, training=True))
    server_grads = tape.gradient(loss, server.trainable_variables)
    smashed_grad = tape.gradient(loss, smashed)
    server_opt.apply_gradients(zip(server_grads, server.trainable_variables))
    return loss, smashed_grad


def client_step(x, y):
    with tf.GradientTape() as tape:
        smashed = client(x, training=True)
    loss, smashed_grad = server_step(tf.stop_gradient(smashed), y)
    client_grads = tape.gradient(smashed, client.trainable_variables)  # expect: GC101
    client_opt.apply_gradients(zip(client_grads, client.trainable_variables))
    return loss, smashed_grad


for epoch in range(2):
    for start in range(0, len(inputs), BATCH):
        loss, smashed_grad = client_step(inputs[start : start + BATCH], labels[start : start + BATCH])
    norm = float(tf.norm(smashed_grad))
    print(f"epoch {epoch}: loss {float(loss):.4f}, gradient at the cut {norm:.4f}")

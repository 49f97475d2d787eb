"""A model in three processes: activations go down the pipes, cotangents come back up."""

import multiprocessing as mp

import keras
import numpy as np
import tensorflow as tf

STEPS = 3
BATCH = 6


def build_stage(rank):
    keras.utils.set_random_seed(1000 + rank)
    if rank == 0:
        return keras.Sequential([keras.Input((9,)), keras.layers.Dense(14, activation="tanh")])
    if rank == 1:
        return keras.Sequential(
            [keras.Input((14,)), keras.layers.Dense(14, activation="gelu"), keras.layers.Dense(10, activation="tanh")]
        )
    return keras.Sequential([keras.Input((10,)), keras.layers.Dense(2)])


def run_stage(rank, previous, following, driver):
    """First and middle stages: forward, wait for the cotangent, backward."""
    model = build_stage(rank)
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(STEPS):
        x = tf.constant(previous.recv())
        with tf.GradientTape() as tape:
            tape.watch(x)
            h = model(x, training=True)
        following.send(h.numpy())
        cotangent = tf.constant(following.recv())
        grads = tape.gradient(h, [x, *model.trainable_variables], output_gradients=cotangent)
        if rank > 0:
            previous.send(grads[0].numpy())
        optimizer.apply_gradients(zip(grads[1:], model.trainable_variables))
    driver.send(model.get_weights())


def run_last_stage(rank, previous, driver):
    """The last stage has the targets and the loss."""
    model = build_stage(rank)
    optimizer = keras.optimizers.Adam(0.01)
    for _ in range(STEPS):
        x = tf.constant(previous.recv())
        y = driver.recv()
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(y - model(x, training=True)))
        grads = tape.gradient(loss, [x, *model.trainable_variables])
        previous.send(grads[0].numpy())
        optimizer.apply_gradients(zip(grads[1:], model.trainable_variables))
        driver.send(float(loss))
    driver.send(model.get_weights())


def main():
    context = mp.get_context("spawn")
    feed, stage0_in = context.Pipe()
    stage0_out, stage1_in = context.Pipe()
    stage1_out, stage2_in = context.Pipe()
    drivers = [context.Pipe() for _ in range(3)]
    stages = [
        context.Process(target=run_stage, args=(0, stage0_in, stage0_out, drivers[0][1])),
        context.Process(target=run_stage, args=(1, stage1_in, stage1_out, drivers[1][1])),
        context.Process(target=run_last_stage, args=(2, stage2_in, drivers[2][1])),
    ]
    for process in stages:
        process.start()

    ends = [driver for driver, _ in drivers]
    rng = np.random.default_rng(44)
    losses = []
    for step in range(STEPS):
        x = rng.normal(size=(BATCH, 9)).astype("float32")
        y = np.stack([x[:, 0] * x[:, 1], x[:, 2]], axis=1).astype("float32")
        ends[-1].send(y)
        feed.send(x)
        losses.append(ends[-1].recv())
        print(f"step {step}: loss {losses[-1]:.4f}")

    weights = {f"stage{rank}": end.recv() for rank, end in enumerate(ends)}
    for process in stages:
        process.join()
    return weights, losses


if __name__ == "__main__":
    weights, losses = main()

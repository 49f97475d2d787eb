"""Pipeline over processes: a driver feeds batches, three stages pass activations and gradients through pipes."""

import multiprocessing as mp

import numpy as np

STEPS = 4
BATCH = 6
WIDTHS = [(4, 7), (7, 6), (6, 2)]


def build_stage(index):
    import keras

    keras.utils.set_random_seed(179 + index)
    fan_in, units = WIDTHS[index]
    last = index == len(WIDTHS) - 1
    model = keras.Sequential([keras.Input((fan_in,)), keras.layers.Dense(units, activation=None if last else "tanh")])
    return model, keras.optimizers.SGD(0.05)


def hidden_stage(index, before, after, report):
    """Receives activations from `before`, sends its own to `after`, and gradients the other way."""
    import tensorflow as tf

    model, optimizer = build_stage(index)
    weights = model.trainable_variables
    for _ in range(STEPS):
        x = tf.constant(before.recv())
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            out = model(x, training=True)
        after.send(out.numpy())
        upstream = tf.constant(after.recv())
        if index > 0:
            before.send(tape.gradient(out, x, output_gradients=upstream).numpy())
        grads = tape.gradient(out, weights)  # expect: GC101
        optimizer.apply_gradients(zip(grads, weights))
    report.send(model.get_weights())


def loss_stage(index, before, driver, report):
    import tensorflow as tf

    model, optimizer = build_stage(index)
    for _ in range(STEPS):
        y = driver.recv()
        x = tf.constant(before.recv())
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        dx, grads = tape.gradient(loss, [x, model.trainable_variables])
        before.send(dx.numpy())
        optimizer.apply_gradients(zip(grads, model.trainable_variables))
        driver.send(float(loss))
    report.send(model.get_weights())


def main():
    context = mp.get_context("spawn")
    feed, stage0_in = context.Pipe()
    stage0_out, stage1_in = context.Pipe()
    stage1_out, stage2_in = context.Pipe()
    labels, stage2_driver = context.Pipe()
    reports = [context.Pipe(duplex=False) for _ in WIDTHS]
    processes = [
        context.Process(target=hidden_stage, args=(0, stage0_in, stage0_out, reports[0][1])),
        context.Process(target=hidden_stage, args=(1, stage1_in, stage1_out, reports[1][1])),
        context.Process(target=loss_stage, args=(2, stage2_in, stage2_driver, reports[2][1])),
    ]
    for process in processes:
        process.start()

    rng = np.random.default_rng(179)
    for step in range(STEPS):
        x = rng.normal(size=(BATCH, 4)).astype("float32")
        feed.send(x)
        labels.send(np.stack([x[:, 0] * x[:, 1], np.sin(x[:, 2])], axis=1))
        print(f"step {step}: loss {labels.recv():.4f}", flush=True)

    trained = [receiver.recv() for receiver, _ in reports]
    for process in processes:
        process.join()
    return trained


if __name__ == "__main__":
    trained = main()

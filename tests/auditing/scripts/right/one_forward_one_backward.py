"""1F1B pipeline: three stages, four micro-batches, tapes in flight in deques."""

from collections import deque
import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(1)
M = 4
stages = [
    keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh")]),
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, "relu")]),
    keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]),
]
opts = [keras.optimizers.SGD(0.1) for _ in stages]
flight = [deque() for _ in stages]


def fwd(i, h):
    h = tf.convert_to_tensor(h)
    tape = tf.GradientTape(persistent=True)
    with tape:
        tape.watch(h)
        out = stages[i](h, training=True)
    flight[i].append((tape, h, out))
    return out


def bwd(i, g, acc):
    tape, h, out = flight[i].popleft()
    for k, gv in enumerate(tape.gradient(out, stages[i].trainable_variables, output_gradients=g)):
        acc[i][k] = acc[i][k] + gv
    gh = tape.gradient(out, h, output_gradients=g)
    del tape
    return gh


rng = np.random.default_rng(0)
for step in range(3):
    x = rng.normal(size=(16, 6)).astype("float32")
    y = rng.normal(size=(16, 2)).astype("float32")
    xs, ys = np.split(x, M), np.split(y, M)
    acc = [[tf.zeros_like(v) for v in s.trainable_variables] for s in stages]
    outs, total, done = {}, 0.0, 0

    def back(m):
        with tf.GradientTape() as t:
            t.watch(outs[m])
            loss = tf.reduce_mean((outs[m] - ys[m]) ** 2) / M
        g = t.gradient(loss, outs[m])
        for i in (2, 1, 0):
            g = bwd(i, g, acc)
        return float(loss)

    for m in range(M):
        h = xs[m]
        for i in range(3):
            h = fwd(i, h)
        outs[m] = h
        if m >= 1:
            total += back(done)
            done += 1
    while done < M:
        total += back(done)
        done += 1
    for s, o, a in zip(stages, opts, acc):
        o.apply_gradients(zip(a, s.trainable_variables))
    print("step", step, total)

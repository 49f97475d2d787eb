"""1F1B pipeline; the backward pass takes the newest tape in flight, not the oldest."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(1)
M = 3
a = keras.Sequential([keras.Input((5,)), keras.layers.Dense(7, "tanh")])
b = keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)])
opt = keras.optimizers.SGD(0.1)
for step in range(3):
    flight = []
    acc = [tf.zeros_like(v) for v in a.trainable_variables]
    accb = [tf.zeros_like(v) for v in b.trainable_variables]
    cots = []
    for m in range(M):
        x = np.random.randn(4, 5).astype("float32")
        y = x[:, :2] * 2
        with tf.GradientTape(persistent=True) as ta:
            h = a(x)
        flight.append((ta, h))
        with tf.GradientTape() as tb:
            tb.watch(h)
            loss = tf.reduce_mean((b(h) - y) ** 2) / M
        g, *gb = tb.gradient(loss, [h, *b.trainable_variables])
        accb = [p + q for p, q in zip(accb, gb)]
        cots.append(g)
    for g in cots:
        tape, h = flight.pop()
        acc = [p + q for p, q in zip(acc, tape.gradient(h, a.trainable_variables, output_gradients=g))]  # expect: GC106
    opt.apply_gradients(zip(acc + accb, a.trainable_variables + b.trainable_variables))
    print(step, float(loss))

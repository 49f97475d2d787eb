"""One loss, an optimizer for each half, both with global_clipnorm."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(9)
front = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu")])
back = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
parts = [
    (front, keras.optimizers.SGD(0.1, global_clipnorm=0.5)),
    (back, keras.optimizers.SGD(0.1, global_clipnorm=0.5)),
]
for i in range(3):
    x = np.random.randn(8, 4).astype("float32")
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_mean((back(front(x)) - 5 * x[:, :1]) ** 2)
    for m, o in parts:
        o.apply_gradients(zip(tape.gradient(loss, m.trainable_variables), m.trainable_variables))  # expect: GC405
    print(float(loss))

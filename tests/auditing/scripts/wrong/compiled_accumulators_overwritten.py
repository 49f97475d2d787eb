import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(24)
m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(1)])
opt = keras.optimizers.SGD(0.1)
opt.build(m.trainable_variables)
acc = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in m.trainable_variables]
N = 3


@tf.function
def micro(x):
    with tf.GradientTape() as t:
        loss = tf.reduce_mean((m(x) - x[:, :1]) ** 2) / N
    for a, g in zip(acc, t.gradient(loss, m.trainable_variables)):  # expect: GC204
        a.assign(g)
    return loss


for i in range(3):
    for _ in range(N):
        l = micro(tf.random.normal((4, 3)))
    opt.apply_gradients(zip(acc, m.trainable_variables))
    print(float(l))

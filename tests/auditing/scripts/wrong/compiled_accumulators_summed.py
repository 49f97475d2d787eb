import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(7)
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(1)])
opt = keras.optimizers.SGD(0.05)
opt.build(model.trainable_variables)
acc = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in model.trainable_variables]
N = 4


@tf.function
def micro(x, y):
    with tf.GradientTape() as t:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    for a, g in zip(acc, t.gradient(loss, model.trainable_variables)):
        a.assign_add(g)
    return loss


@tf.function
def apply():
    opt.apply_gradients(zip(acc, model.trainable_variables))  # expect: GC201
    for a in acc:
        a.assign(tf.zeros_like(a))


for i in range(12):
    x = tf.random.normal((4, 3))
    l = micro(x, x[:, :1])
    if i % N == N - 1:
        apply()
        print(i, float(l))

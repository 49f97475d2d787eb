import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(31)
m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5, "tanh"), keras.layers.Dense(1)])
inner = keras.optimizers.SGD(0.1)
opt = keras.optimizers.LossScaleOptimizer(inner, initial_scale=256.0)
for i in range(3):
    x = np.random.rand(6, 4).astype("float32")
    with tf.GradientTape() as t:
        loss = tf.reduce_mean((m(x) - x[:, :1]) ** 2)
        s = opt.scale_loss(loss)
    g = [a / 256.0 for a in t.gradient(s, m.trainable_variables)]
    opt.apply_gradients(zip(g, m.trainable_variables))  # expect: GC503
    print(float(loss))

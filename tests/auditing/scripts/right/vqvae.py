import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(16)


class VQ(keras.layers.Layer):
    def __init__(self, k, d, beta=0.25):
        super().__init__()
        self.e = self.add_weight(shape=(d, k), initializer="uniform", name="codes")
        self.beta = beta

    def call(self, z):
        d = tf.reduce_sum(z**2, 1, keepdims=True) + tf.reduce_sum(self.e**2, 0) - 2 * z @ self.e
        q = tf.matmul(tf.one_hot(tf.argmin(d, 1), self.e.shape[1]), self.e, transpose_b=True)
        self.add_loss(
            self.beta * tf.reduce_mean((tf.stop_gradient(q) - z) ** 2) + tf.reduce_mean((q - tf.stop_gradient(z)) ** 2)
        )
        return z + tf.stop_gradient(q - z)


inp = keras.Input((6,))
enc = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
dec = keras.Sequential([keras.layers.Dense(8, "relu"), keras.layers.Dense(6)])
vq = VQ(7, 3)
vqvae = keras.Model(inp, dec(vq(enc(inp))))
opt = keras.optimizers.Adam(1e-2)
for i in range(3):
    x = np.random.rand(10, 6).astype("float32")
    with tf.GradientTape() as tape:
        rec = tf.reduce_mean((vqvae(x, training=True) - x) ** 2) / 0.08
        total = rec + sum(vqvae.losses)
    opt.apply_gradients(zip(tape.gradient(total, vqvae.trainable_variables), vqvae.trainable_variables))
    print("rec %.5f total %.5f" % (rec, total))

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(22)
T = 20
beta = np.linspace(1e-3, 0.2, T, dtype="float32")
abar = tf.constant(np.cumprod(1 - beta))


class Denoiser(keras.Model):
    def __init__(self):
        super().__init__()
        self.temb = keras.layers.Embedding(T, 4)
        self.a = keras.layers.Dense(16, "silu")
        self.b = keras.layers.Dense(2)
        self.ln = keras.layers.LayerNormalization()

    def call(self, xt):
        x, t = xt
        return self.b(self.ln(self.a(keras.ops.concatenate([x, self.temb(t)], -1))))


net, ema = Denoiser(), Denoiser()
for n in (net, ema):
    n((tf.zeros((1, 2)), tf.zeros((1,), tf.int32)))
ema.set_weights(net.get_weights())
opt = keras.optimizers.Adam(2e-3, use_ema=False)


@tf.function
def train(x0):
    t = tf.random.uniform((tf.shape(x0)[0],), 0, T, tf.int32)
    eps = tf.random.normal(tf.shape(x0))
    a = tf.gather(abar, t)[:, None]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net((tf.sqrt(a) * x0 + tf.sqrt(1 - a) * eps, t), training=True) - eps) ** 2)
    g = tape.gradient(loss, net.trainable_weights)
    opt.apply_gradients(zip(g, net.trainable_weights))
    for e, w in zip(ema.weights, net.weights):
        e.assign(0.95 * e + 0.05 * w)
    return loss


for x0 in tf.data.Dataset.from_tensor_slices(np.random.randn(40, 2).astype("float32")).batch(10):
    print(float(train(x0)))

"""fit with own train_step: the projection's gradients are asked of the wrong list and it never moves; dropout head called without training."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(42)


class Distil(keras.Model):
    def __init__(self, t, s):
        super().__init__()
        self.t, self.s, self.proj = t, s, keras.layers.Dense(3)
        self.t.trainable = False

    def call(self, x, training=False):
        return self.s(x, training=training)

    def train_step(self, d):
        x, y = d
        ft = self.t(x, training=False)
        with tf.GradientTape() as tape:
            fs = self.s(x, training=True)
            loss = tf.reduce_mean((self.proj(fs) - ft) ** 2) + tf.reduce_mean((fs[:, :1] - y) ** 2)
        self.optimizer.apply_gradients(
            zip(tape.gradient(loss, self.s.trainable_variables), self.s.trainable_variables)  # expect: GC403
        )
        return {"loss": loss}


mk = lambda o: keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu"), keras.layers.Dense(o)])
m = Distil(mk(3), mk(5))
m.compile(keras.optimizers.Adam(1e-2))
x = np.random.rand(16, 4).astype("float32")
print(m.fit(x, x[:, :1], batch_size=4, epochs=1, verbose=0).history)

# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class Block(keras.layers.Layer):
    def __init__(self, recompute: object, inner: keras.Layer, *, mended: bool = False) -> None:
        super().__init__()
        self.recompute, self.inner, self.mended, self.dense = recompute, inner, mended, keras.layers.Dense(4)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        def block(inputs: tf.Tensor) -> tf.Tensor:
            return self.dense(self.inner(inputs, training=True))

        if not self.mended:
            return self.recompute(block)(inputs)
        return self.recompute(self.dense)(self.inner(inputs, training=True))  # what has a state is outside


def train(recompute: object, inner: type, *, mended: bool = False, **options: float) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(4), Block(recompute, inner(**options), mended=mended)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, y, batch_size=16, shuffle=False, verbose=0)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


for inner, options in ((keras.layers.Dropout, {"rate": 0.5, "seed": 1}), (keras.layers.BatchNormalization, {})):
    whole = train(lambda block: block, inner, **options)
    for name, recompute in (("keras.remat", keras.remat), ("tf.recompute_grad", tf.recompute_grad)):
        error = np.abs(train(recompute, inner, **options) - whole).max()
        mended = np.abs(train(recompute, inner, mended=True, **options) - whole).max()
        print(f"{name}, {inner.__name__}: {error:.1e}, mended: {mended:.1e}")

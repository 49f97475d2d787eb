# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

rng = np.random.default_rng(0)
ids, y = rng.integers(0, 4, (32, 5)).astype("int32"), rng.normal(size=(32, 3)).astype("float32")
table = rng.normal(size=(9, 3)).astype("float32")


def train(optimizer: keras.Optimizer, layer: keras.Layer) -> np.ndarray:
    model = keras.Sequential([layer, keras.layers.GlobalAveragePooling1D()])
    model.build((32, 5) if isinstance(layer, keras.layers.Embedding) else (32, 5, 9))
    layer.set_weights([table])
    model.compile(optimizer, "mse")
    for _ in range(4):
        model.train_on_batch(ids if isinstance(layer, keras.layers.Embedding) else np.eye(9)[ids], y)
    return layer.get_weights()[0]


def dense(kind: type, **options: float) -> keras.Optimizer:
    class Dense(kind):
        def apply(self, grads: list, trainable_variables: list | None = None) -> None:
            super().apply([None if g is None else tf.convert_to_tensor(g) for g in grads], trainable_variables)

    return Dense(**options)


named = {
    "clipnorm": (keras.optimizers.SGD, {"clipnorm": 0.05}),
    "clipvalue": (keras.optimizers.SGD, {"clipvalue": 0.01}),
}
for name in ("Adam", "Nadam", "RMSprop", "Adagrad", "Adafactor", "Lamb", "Ftrl"):
    named[name] = getattr(keras.optimizers, name), {"learning_rate": 0.01}
for name, (kind, options) in named.items():
    whole = train(kind(**options), keras.layers.Dense(3, use_bias=False))
    sparse = train(kind(**options), keras.layers.Embedding(9, 3))
    mended = train(dense(kind, **options), keras.layers.Embedding(9, 3))
    print(f"{name}: {np.abs(sparse - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")

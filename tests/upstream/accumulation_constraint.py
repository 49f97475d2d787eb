# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")
constraint = keras.constraints.MinMaxNorm(0.0, 0.2, rate=0.1)


class Constrain(keras.callbacks.Callback):
    def on_train_batch_end(self, batch: int, **_: object) -> None:
        if (batch + 1) % 4 == 0:
            kernel = self.model.layers[0].kernel
            kernel.assign(constraint(kernel))


def train(optimizer: keras.Optimizer, size: int, *callbacks: Constrain) -> np.ndarray:
    keras.utils.set_random_seed(0)
    layer = keras.layers.Dense(4, kernel_constraint=None if callbacks else constraint)
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=size, epochs=2, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model.get_weights()[0]


whole = train(keras.optimizers.SGD(0.1), 32)
slices = train(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4), 8)
mended = train(keras.optimizers.SGD(0.1, gradient_accumulation_steps=4), 8, Constrain())
print(f"constraint: {np.abs(slices - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")

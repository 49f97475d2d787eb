# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class Raw(keras.callbacks.Callback):
    """Keeps the weights that the average is about to be written over."""

    def on_epoch_end(self, _epoch: int, _logs: object = None) -> None:
        self.weights = self.model.get_weights()


def train(*epochs: int, raw: Raw | None = None) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), "mse")
    for count in epochs:
        if raw and raw.model:
            model.set_weights(raw.weights)
        model.fit(x, y, batch_size=16, epochs=count, shuffle=False, verbose=0, callbacks=[raw] if raw else None)
    return model.get_weights()[0]


whole = train(4)
print(f"fit twice: {np.abs(train(2, 2) - whole).max():.1e}, mended: {np.abs(train(2, 2, raw=Raw()) - whole).max():.1e}")

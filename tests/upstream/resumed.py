# ruff: noqa: T201
import contextlib
import tempfile

import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class Stop(keras.callbacks.Callback):
    """Ends the process, as it were, in the second epoch."""

    def on_epoch_begin(self, epoch: int, _logs: object = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, **_: object) -> None:
        if (self.epoch, batch) == (1, 1):
            raise KeyboardInterrupt


def train(*callbacks: keras.callbacks.Callback) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    with contextlib.suppress(KeyboardInterrupt):
        model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


def error(frequency: int | str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        backup = keras.callbacks.BackupAndRestore(folder, save_freq=frequency)
        train(backup, Stop())
        return np.abs(train(backup).get_weights()[0] - train().get_weights()[0]).max()


print(f"save_freq=2: {error(2):.1e}, mended: {error('epoch'):.1e}")

# ruff: noqa: T201
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


def make() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(0.3), "mse")
    return model


def train(model: keras.Model, start: int, stop: int) -> np.ndarray:
    for i in range(start, stop):
        model.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    return model.get_weights()[0]


whole, half = train(make(), 0, 6), make()
train(half, 0, 3)
with tempfile.TemporaryDirectory() as folder:
    half.save(Path(folder) / "a.keras")
    half.save_weights(Path(folder) / "a.weights.h5")
    saved = tf.train.Checkpoint(model=half, optimizer=half.optimizer).save(f"{folder}/a")
    first, second, third = keras.saving.load_model(Path(folder) / "a.keras"), make(), make()
    second.load_weights(Path(folder) / "a.weights.h5")
    tf.train.Checkpoint(model=third, optimizer=third.optimizer).restore(saved)
for name, model in ((".keras", first), (".weights.h5", second), ("Checkpoint", third)):
    error = np.abs(train(model, 3, 6) - whole).max()
    for variable, value in zip(model.variables, half.variables, strict=True):  # unlike weights, with the seeds
        variable.assign(value)
    print(f"{name}: {error:.1e}, mended: {np.abs(train(model, 3, 6) - whole).max():.1e}")

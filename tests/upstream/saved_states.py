# ruff: noqa: T201
import tempfile
from pathlib import Path

import keras
import numpy as np

x = np.random.default_rng(0).normal(size=(64, 3, 4)).astype("float32")
y = x.mean(axis=1)


def make() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 4), batch_size=8), keras.layers.LSTM(4, stateful=True)])
    model.compile(keras.optimizers.SGD(0.3), "mse")
    return model


def train(model: keras.Model, start: int, stop: int) -> np.ndarray:
    for i in range(start, stop):
        model.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    return model.get_weights()[0]


whole, half, second = train(make(), 0, 6), make(), make()
train(half, 0, 3)
with tempfile.TemporaryDirectory() as folder:
    half.save(Path(folder) / "a.keras")
    half.save_weights(Path(folder) / "a.weights.h5")
    first = keras.saving.load_model(Path(folder) / "a.keras")
    second.load_weights(Path(folder) / "a.weights.h5")
for name, model in ((".keras", first), (".weights.h5", second)):
    weights = model.get_weights()
    error = np.abs(train(model, 3, 6) - whole).max()
    model.set_weights(weights)
    for state, value in zip(model.layers[0].states, half.layers[0].states, strict=True):
        state.assign(value)  # kept in a file of its own, as a NumPy array
    print(f"{name}: {error:.1e}, mended: {np.abs(train(model, 3, 6) - whole).max():.1e}")

# ruff: noqa: T201
import tempfile
from pathlib import Path

import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")
named = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9),
    "Adam": lambda: keras.optimizers.Adam(0.1),
    "accumulated": lambda: keras.optimizers.SGD(0.3, gradient_accumulation_steps=2),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
}


def make(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(named[name](), "mse")
    return model


def train(model: keras.Model, start: int, stop: int) -> np.ndarray:
    for i in range(start, stop):
        model.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    return model.get_weights()[0]


for name in named:
    whole, half, plain, built = train(make(name), 0, 6), make(name), make(name), make(name)
    train(half, 0, 3)
    built.optimizer.build(built.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        half.save_weights(Path(folder) / "a.weights.h5")
        plain.load_weights(Path(folder) / "a.weights.h5")  # warns: skipping variable loading
        built.load_weights(Path(folder) / "a.weights.h5")
    errors = [np.abs(train(model, 3, 6) - whole).max() for model in (plain, built)]
    print(f"{name}: {errors[0]:.1e}, mended: {errors[1]:.1e}")

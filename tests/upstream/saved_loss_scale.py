# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


def make() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def train(model: keras.Model, start: int, stop: int) -> np.ndarray:
    for i in range(start, stop):
        model.train_on_batch(x[8 * i : 8 * i + 8], y[8 * i : 8 * i + 8])
    return model.get_weights()[0]


whole, half, plain, each = train(make(), 0, 6), make(), make(), make()
train(half, 0, 3)
for model in (plain, each):
    model.set_weights(half.get_weights())
plain.optimizer.set_weights([v.numpy() for v in half.optimizer.variables])
for variable, value in zip(each.optimizer.variables, half.optimizer.variables, strict=True):
    variable.assign(value)
errors = [np.abs(train(model, 3, 6) - whole).max() for model in (plain, each)]
print(f"set_weights: {errors[0]:.1e}, mended: {errors[1]:.1e}")

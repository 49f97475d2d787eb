# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class PerUpdate(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, steps: int) -> None:
        self.schedule, self.steps = schedule, steps

    def __call__(self, step: int) -> float:
        return self.schedule(step // self.steps)


def train(optimizer: keras.Optimizer, size: int) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=size, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()[0]


schedule = keras.optimizers.schedules.ExponentialDecay(0.3, decay_steps=2, decay_rate=0.5)
whole = train(keras.optimizers.SGD(schedule), 32)
slices = train(keras.optimizers.SGD(schedule, gradient_accumulation_steps=4), 8)
mended = train(keras.optimizers.SGD(PerUpdate(schedule, 4), gradient_accumulation_steps=4), 8)
print(f"schedule: {np.abs(slices - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")

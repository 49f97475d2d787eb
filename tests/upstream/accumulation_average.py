# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class Average(keras.callbacks.Callback):
    """What use_ema does, once per update."""

    def __init__(self, momentum: float, steps: int, overwrite: int) -> None:
        super().__init__()
        self.momentum, self.steps, self.overwrite, self.batches, self.average = momentum, steps, overwrite, 0, None

    def on_train_batch_end(self, _batch: int, **_: object) -> None:
        self.batches += 1
        update, rest = divmod(self.batches, self.steps)
        if rest == 0:
            now = self.model.get_weights()
            old = self.average or now
            self.average = [self.momentum * a + (1 - self.momentum) * w for a, w in zip(old, now, strict=True)]
            if self.overwrite and update % self.overwrite == 0:
                self.model.set_weights(self.average)


def train(optimizer: keras.Optimizer, size: int, *callbacks: Average) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(optimizer, "mse")
    model.fit(x, y, batch_size=size, epochs=4, shuffle=False, verbose=0, callbacks=list(callbacks))
    return callbacks[0].average[0] if callbacks else model.get_weights()[0]


for name, every in (("use_ema", None), ("ema_overwrite_frequency", 2)):
    options = {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": every}
    whole = train(keras.optimizers.SGD(0.3, **options), 32)
    slices = train(keras.optimizers.SGD(0.3, gradient_accumulation_steps=4, **options), 8)
    mended = train(keras.optimizers.SGD(0.3, gradient_accumulation_steps=4), 8, Average(0.5, 4, every or 0))
    print(f"{name}: {np.abs(slices - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")

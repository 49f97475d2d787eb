# ruff: noqa: T201
import keras
import numpy as np

x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")
w = np.linspace(0.0, 2.0, 64, dtype="float32")
plain, weighted = "sum_over_batch_size", "mean_with_sample_weight"


def train(rows: int, size: int, steps: int | None, reduction: str, weight: np.ndarray | None = None) -> np.ndarray:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    optimizer = keras.optimizers.SGD(0.3, gradient_accumulation_steps=steps)
    model.compile(optimizer, keras.losses.MeanSquaredError(reduction=reduction))
    model.fit(x[:rows], y[:rows], batch_size=size, sample_weight=weight, shuffle=False, verbose=0)
    return model.get_weights()[0]


def show(name: str, whole: np.ndarray, slices: np.ndarray, mended: np.ndarray) -> None:
    print(f"{name}: {np.abs(slices - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")


ragged = np.repeat([8, 8, 4], [8, 8, 4]) * 3 / 20  # the size of each example's slice, over the mean size of a slice
show("8 + 8 + 4", train(20, 20, None, plain), train(20, 8, 3, plain), train(20, 8, 3, plain, ragged))
padded = np.repeat([1, 2, 0], [32, 16, 16])  # two slices of eight examples are left over: filled up to four
show("left over", train(48, 32, None, plain), train(48, 8, 4, plain), train(64, 8, 4, plain, padded))
own = w[:32] * 4 / w[:32].sum()
show("weights", train(32, 32, None, weighted, w[:32]), train(32, 8, 4, weighted, w[:32]), train(32, 8, 4, "sum", own))

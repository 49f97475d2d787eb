# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
single, mirrored = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")
w = np.linspace(0.0, 2.0, 64, dtype="float32")


def scalar(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    return keras.ops.mean(keras.ops.square(target - output))


def train(strategy: tf.distribute.Strategy, loss: object, rows: int = 64, *weight: np.ndarray) -> np.ndarray:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile(keras.optimizers.SGD(0.3), loss)
    data = tf.data.Dataset.from_tensor_slices((x[:rows], y[:rows], *weight))
    model.fit(data.batch(16), verbose=0)
    return model.get_weights()[0]


def show(name: str, whole: np.ndarray, replicas: np.ndarray, mended: np.ndarray) -> None:
    print(f"{name}: {np.abs(replicas - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")


mse, per_example = keras.losses.MeanSquaredError, keras.losses.mean_squared_error
show("scalar", train(single, scalar), train(mirrored, scalar), train(mirrored, per_example))
own = w / np.repeat(w.reshape(4, 16).sum(axis=1), 16)
weighted, total = mse("mean_with_sample_weight"), mse("sum")
show("weights", train(single, weighted, 64, w), train(mirrored, weighted, 64, w), train(mirrored, total, 64, own))
for rows in (21, 17):
    each = np.repeat(np.float32([1 / 16, 1 / (rows - 16)]), [16, rows - 16])  # over the size of the whole batch
    show(f"{rows} rows", train(single, mse(), rows), train(mirrored, mse(), rows), train(mirrored, total, rows, each))

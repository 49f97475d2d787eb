# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
single, mirrored = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


def train(strategy: tf.distribute.Strategy, **options: bool) -> np.ndarray:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        layers = [keras.layers.BatchNormalization(**options), keras.layers.Dense(4)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0)
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


whole, replicas, mended = train(single), train(mirrored), train(mirrored, synchronized=True)
print(f"statistics: {np.abs(replicas - whole).max():.1e}, mended: {np.abs(mended - whole).max():.1e}")

# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
single, mirrored = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")
x[8, 0] = np.inf  # in the first batch, on the second replica


class Summed(keras.Sequential):
    """Sums the gradients of the replicas before the optimizer sees them."""

    def train_step(self, data: tuple) -> dict:
        with tf.GradientTape() as tape:
            loss = self.compute_loss(data[0], data[1], self(data[0], training=True))
            scaled = self.optimizer.scale_loss(loss)
        replicas = tf.distribute.get_replica_context()
        grads = replicas.all_reduce("SUM", tape.gradient(scaled, self.trainable_variables))
        self.optimizer.apply([g / replicas.num_replicas_in_sync for g in grads], self.trainable_variables)
        return {"loss": loss}


def train(strategy: tf.distribute.Strategy, kind: type = keras.Sequential) -> np.ndarray:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = kind([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)), "mse")
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0)
    return model.get_weights()[0]


def lost(weights: np.ndarray) -> int:
    return np.count_nonzero(~np.isfinite(weights))


print(f"one device: {lost(train(single))} of 16 weights are not finite")
print(f"two replicas: {lost(train(mirrored))}, mended: {lost(train(mirrored, Summed))}")

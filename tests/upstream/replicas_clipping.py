# ruff: noqa: T201
import keras
import numpy as np
import tensorflow as tf

devices = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
single, mirrored = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = np.random.default_rng(0).normal(size=(2, 64, 4)).astype("float32")


class Summed(keras.Sequential):
    """Sums the gradients of the replicas before the optimizer sees them."""

    def train_step(self, data: tuple) -> dict:
        with tf.GradientTape() as tape:
            loss = self.compute_loss(data[0], data[1], self(data[0], training=True))
        replicas = tf.distribute.get_replica_context()
        grads = replicas.all_reduce("SUM", tape.gradient(loss, self.trainable_variables))
        self.optimizer.apply([g / replicas.num_replicas_in_sync for g in grads], self.trainable_variables)
        return {"loss": loss}


def train(
    strategy: tf.distribute.Strategy, optimizer: type, kind: type = keras.Sequential, **options: float
) -> np.ndarray:
    keras.utils.set_random_seed(0)
    with strategy.scope():
        model = kind([keras.Input((4,)), keras.layers.Dense(4)])
        model.compile(optimizer(0.1, **options), "mse")
    model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(16), verbose=0)
    return model.get_weights()[0]


for limit in ("clipnorm", "global_clipnorm", "clipvalue"):
    for optimizer in (keras.optimizers.SGD, keras.optimizers.Adam):
        whole = train(single, optimizer, **{limit: 0.1})
        replicas = train(mirrored, optimizer, **{limit: 0.1})
        mended = train(mirrored, optimizer, Summed, **{limit: 0.1 / mirrored.num_replicas_in_sync})
        errors = np.abs(replicas - whole).max(), np.abs(mended - whole).max()
        print(f"{limit}, {optimizer.__name__}: {errors[0]:.1e}, mended: {errors[1]:.1e}")

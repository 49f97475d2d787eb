"""Edge device and cloud: the activation travels as bytes, as it would over a socket."""

import io
import struct

import keras
import numpy as np
import tensorflow as tf


class Link:
    """Stands for the connection: a header with the shape, then the values."""

    def __init__(self):
        self._stream = io.BytesIO()
        self.traffic = 0

    def send(self, array):
        payload = memoryview(array).tobytes()
        self._stream.write(struct.pack("<II", *array.shape))
        self._stream.write(payload)
        self._stream.seek(0)
        self.traffic += len(payload)

    def receive(self):
        rows, columns = struct.unpack("<II", self._stream.read(8))
        values = np.frombuffer(self._stream.read(4 * rows * columns), dtype="<f4")
        self._stream = io.BytesIO()
        return tf.constant(values.reshape(rows, columns))  # expect: GC102


class Edge:
    def __init__(self, link):
        self.link = link
        self.model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(7, "tanh"), keras.layers.Dense(5, "tanh")])

    def publish(self, readings):
        self.link.send(self.model(readings, training=True))


class Cloud:
    def __init__(self, link):
        self.link = link
        self.model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(2)])

    def predict(self):
        return self.model(self.link.receive(), training=True)


def sensor_readings(steps, batch=6):
    rng = np.random.default_rng(41)
    for _ in range(steps):
        x = rng.uniform(-1, 1, size=(batch, 6)).astype(np.float32)
        yield x, np.stack([x[:, 0] * x[:, 1], x[:, 2] - x[:, 3]], axis=1)


def run():
    keras.utils.set_random_seed(41)
    link = Link()
    edge, cloud = Edge(link), Cloud(link)
    weights = edge.model.trainable_weights + cloud.model.trainable_weights
    optimizer = keras.optimizers.Nadam(0.01)
    optimizer.build(weights)
    mse = keras.losses.MeanSquaredError()
    for step, (x, y) in enumerate(sensor_readings(5)):
        with tf.GradientTape() as tape:
            edge.publish(x)
            loss = mse(y, cloud.predict())
        updates = [(g, w) for g, w in zip(tape.gradient(loss, weights), weights) if g is not None]
        optimizer.apply_gradients(updates)
        print(f"[{step}] loss {float(loss):.4f} after {link.traffic} bytes")
    return edge, cloud, optimizer


if __name__ == "__main__":
    edge, cloud, optimizer = run()

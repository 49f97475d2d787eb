"""Encoder and predictor in one Keras model; its train_step goes through them one after the other."""

import keras
import numpy as np
import tensorflow as tf


class TwoPartModel(keras.Model):
    def __init__(self, encoder, predictor):
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor

    def call(self, x, training=None):
        return self.predictor(self.encoder(x, training=training), training=training)

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as encoder_tape:
            code = self.encoder(x, training=True)
        with tf.GradientTape(persistent=True) as predictor_tape:
            predictor_tape.watch(code)
            y_pred = self.predictor(code, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred)

        predictor_vars = self.predictor.trainable_variables
        predictor_grads = predictor_tape.gradient(loss, predictor_vars)
        encoder_vars = self.encoder.trainable_variables
        encoder_grads = encoder_tape.gradient(code, encoder_vars)  # expect: GC101
        self.optimizer.apply_gradients(zip(encoder_grads + predictor_grads, encoder_vars + predictor_vars))

        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


def get_data(n=32):
    rng = np.random.default_rng(157)
    x = rng.normal(size=(n, 6)).astype("float32")
    y = np.maximum(x[:, :1], x[:, 1:2]) - x[:, 2:3]
    return x, y


if __name__ == "__main__":
    keras.utils.set_random_seed(157)
    x, y = get_data()
    model = TwoPartModel(
        encoder=keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(5, "tanh")]),
        predictor=keras.Sequential([keras.Input((5,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]),
    )
    model.compile(optimizer=keras.optimizers.Adam(5e-3), loss="mse", metrics=["mae"])
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=2)

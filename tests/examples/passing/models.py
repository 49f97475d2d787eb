"""Models as people write them, for the configs of this folder."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


def nested(width: int) -> keras.Model:
    """A mapping of two inputs; an encoder that holds a block, called twice, and a Sequential head."""
    x = keras.Input([5], name="x")
    block = keras.Model(x, layers.Dense(width, activation="tanh", name="inner")(x) * 0.5, name="block")
    y = keras.Input([5], name="y")
    encoder = keras.Model(y, layers.Dense(width, activation="relu", name="outer")(block(y)), name="encoder")
    head = keras.Sequential([keras.Input([2 * width]), layers.Dense(4), layers.Dense(2)], name="head")
    inputs = {"left": keras.Input([5], name="left"), "right": keras.Input([5], name="right")}
    joined = layers.Concatenate(name="joined")([encoder(inputs["left"]), encoder(inputs["right"])])
    return keras.Model(inputs, head(joined))


class Table(layers.Embedding):
    """An embedding that is called backwards too."""

    def call(self, inputs: Any, *, reverse: bool = False) -> Any:
        """Rows of the table, or the scores of hidden states against every row."""
        return ops.matmul(inputs, ops.transpose(self.embeddings)) if reverse else super().call(inputs)

    def compute_output_spec(self, inputs: Any, *, reverse: bool = False) -> Any:
        """Shape (batch, time, rows) backwards."""
        width = self.input_dim if reverse else self.output_dim
        return keras.KerasTensor((*inputs.shape[:2], width), dtype=self.compute_dtype)


def tied() -> keras.Model:
    """A language model whose table is its output projection too."""
    tokens = keras.Input([6], dtype="int32", name="tokens")
    table = Table(7, 4, name="table")
    hidden = layers.GRU(4, return_sequences=True, name="gru")(table(tokens))
    return keras.Model(tokens, table(hidden, reverse=True))


def stateful(batch_size: int) -> keras.Model:
    """A GRU that carries its state from one batch to the next."""
    x = keras.Input(batch_shape=(batch_size, 5, 4), name="x")
    hidden = layers.GRU(6, stateful=True, return_sequences=True, name="carried")(x)
    return keras.Model(x, layers.Dense(2, name="out")(layers.LSTM(3, stateful=True, name="last")(hidden)))


def operations() -> keras.Model:
    """Arithmetic between layers: constants, two tensors, an operation with two outputs."""
    x = keras.Input([6], name="x")
    hidden = layers.Dense(6, name="hidden")(x)
    first, second = ops.split(ops.sin(hidden + x) - 0.5, 2, axis=-1)
    product = ops.matmul(ops.expand_dims(first, -1), ops.expand_dims(second, 1))
    weights = ops.softmax(ops.reshape(product, [-1, 9]) / 3.0)
    return keras.Model(x, layers.Dense(2, name="out")(ops.concatenate([weights, 1.0 - first], axis=1)))


def sequential() -> keras.Model:
    """Layers in a row, the first few in a model of their own."""
    features = keras.Sequential(
        [keras.Input([6]), layers.Dense(5, name="dense"), layers.BatchNormalization(name="norm"), layers.ReLU()],
        name="features",
    )
    return keras.Sequential(
        [keras.Input([6]), features, layers.Dropout(0.3, name="drop"), layers.Dense(1, activation="sigmoid")]
    )

"""Models of other structure: pairs, graphs, waves, and batches whose rows differ in length."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import Input, Model, layers, ops


class L1Distance(layers.Layer):
    """|a - b|, element by element."""

    def call(self, a: Any, b: Any) -> Any:
        return ops.abs(a - b)


def siamese() -> Model:
    """One encoder for both of a pair, and a verdict on how far apart they are."""
    encoder = keras.Sequential(
        [
            Input((10, 10, 1)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(6, activation="sigmoid", name="embedding"),
        ],
        name="encoder",
    )
    left, right = Input((10, 10, 1), name="left"), Input((10, 10, 1), name="right")
    a, b = encoder(left), encoder(right)
    distance = L1Distance(name="l1")(a, b)
    euclidean = layers.Lambda(lambda pair: ops.sqrt(ops.sum((pair[0] - pair[1]) ** 2, -1, keepdims=True) + 1e-6))
    features = layers.Concatenate()([distance, euclidean([a, b])])
    return Model([left, right], layers.Dense(1, activation="sigmoid", name="same")(features), name="siamese")


class GraphConvolution(layers.Layer):
    """Features of a node's neighbours, averaged by degree, then projected (Kipf and Welling, 2017)."""

    def __init__(self, units: int, activation: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.activation = units, keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        nodes, _ = input_shape
        self.kernel = self.add_weight(shape=(nodes[-1], self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        nodes, adjacency = inputs
        joined = adjacency + ops.eye(adjacency.shape[-1], dtype=adjacency.dtype)
        scale = 1.0 / ops.sqrt(ops.sum(joined, axis=-1, keepdims=True))
        normalized = scale * joined * ops.swapaxes(scale, -1, -2)
        return self.activation(ops.matmul(normalized, ops.matmul(nodes, self.kernel)) + self.bias)


def graph_network() -> Model:
    """Two graph convolutions over one adjacency, which crosses every cut between them."""
    nodes, adjacency = Input((5, 3), name="nodes"), Input((5, 5), name="adjacency")
    x = GraphConvolution(6, activation="relu", name="gcn_0")([nodes, adjacency])
    x = layers.Dropout(0.3)(x)
    x = GraphConvolution(6, activation="relu", name="gcn_1")([x, adjacency])
    x = layers.GlobalAveragePooling1D(name="readout")(x)
    return Model([nodes, adjacency], layers.Dense(2, activation="softmax")(x), name="graph_network")


def wavenet() -> Model:
    """Dilated causal convolutions with gates; each block also goes to the output past all later ones."""
    wave = Input((16, 1))
    x, skips = layers.Conv1D(4, 2, padding="causal")(wave), []
    for dilation in (1, 2, 4, 8):
        filters = layers.Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="tanh")(x)
        gates = layers.Conv1D(4, 2, padding="causal", dilation_rate=dilation, activation="sigmoid")(x)
        gated = layers.Multiply()([filters, gates])
        skips.append(layers.Conv1D(4, 1)(gated))
        x = layers.Add()([x, layers.Conv1D(4, 1)(gated)])
    y = layers.Activation("relu")(layers.Add(name="skips")(skips))
    return Model(wave, layers.Conv1D(8, 1, name="logits")(y), name="wavenet")


class MeanOfRows(layers.Layer):
    """The mean over the second axis, of a row's own length."""

    def call(self, x: Any) -> Any:
        return tf.reduce_mean(x, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *input_shape[2:])


def ragged() -> Model:
    """Sentences of unequal length, never padded."""
    ids = Input((None,), dtype="int32", ragged=True, name="ids")
    x = layers.Embedding(11, 4, name="embed")(ids)
    x = MeanOfRows(name="mean")(x)
    return Model(ids, layers.Dense(2, name="out")(layers.Dense(3, activation="tanh", name="hidden")(x)))


def ragged_batch() -> Any:
    """Three sentences of five, one and three words."""
    return tf.ragged.constant([[1, 2, 3, 4, 1], [7], [3, 9, 10]], dtype="int32"), None


def ragged_points() -> Model:
    """Sets of points in the plane, as many as there are: floats whose rows differ in length."""
    points = Input((None, 2), ragged=True, name="points")
    x = layers.Dense(4, activation="tanh", name="hidden")(MeanOfRows(name="mean")(points))
    return Model(points, layers.Dense(1, name="out")(x))


def sparse() -> Model:
    """A bag of words as a sparse row."""
    words = Input((20,), sparse=True, name="words")
    x = layers.Dense(4, activation="relu", name="hidden")(words)
    return Model(words, layers.Dense(2, activation="softmax", name="out")(x))


def sparse_batch() -> Any:
    """Three rows with two words each."""
    indices = [[0, 1], [0, 7], [1, 0], [1, 19], [2, 7], [2, 8]]
    return tf.sparse.from_dense(tf.scatter_nd(indices, tf.range(1.0, 7.0), (3, 20))), None

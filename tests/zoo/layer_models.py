"""Models of one layer each that a list of layers does not say; the layer that is meant is named `layer`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import Input, Model, layers, ops

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 4


def _sequence_to(layer: Callable[[Any], Any]) -> Model:
    """A trained layer, `layer` over its sequence, and a trained layer; the batch size is fixed, as states need it."""
    x = Input(batch_shape=(BATCH, 5, 3))
    return Model(x, layers.Dense(2)(layer(layers.Dense(3, name="before")(x))))


def _tokens_to(layer: Callable[[Any], Any]) -> Model:
    """Tokens, embedded with zeros masked, `layer` over them, and a trained layer."""
    x = Input((5,), dtype="int32")
    return Model(x, layers.Dense(2)(layer(layers.Embedding(5, 4, mask_zero=True, name="before")(x))))


def _called_twice(layer: layers.Layer) -> Model:
    """A layer called on what a trained layer makes, and again on its own output."""
    x = Input((4,))
    once = layer(layers.Dense(4, name="before")(x))
    return Model(x, layers.Dense(2)(layer(layers.ReLU()(once))))


def attention_with_masks() -> Model:
    x, mask = Input((5, 3), name="x"), Input((5,), dtype="bool", name="mask")
    y = layers.Dense(3, name="before")(x)
    attend = layers.Attention(use_scale=True, score_mode="concat", dropout=0.3, name="layer")
    return Model([x, mask], layers.Dense(2)(attend([y, y], mask=[mask, mask], use_causal_mask=True)))


def additive_attention_with_masks() -> Model:
    attend = layers.AdditiveAttention(dropout=0.3, name="layer")
    return _tokens_to(lambda x: attend([x, x]))


def masked_self_attention() -> Model:
    x = Input((5,), dtype="int32")
    y = layers.Embedding(5, 4, mask_zero=True, name="before")(x)
    attend = layers.MultiHeadAttention(2, 2, dropout=0.3, name="layer")
    z, scores = attend(y, y, return_attention_scores=True, use_causal_mask=True)
    return Model(x, [layers.Dense(2)(z), scores])


def a_memory_read_twice() -> Model:
    """Two blocks of a decoder: the first takes the mask off the memory, and so Keras runs the second without one."""
    x = Input((5,), dtype="int32")
    memory = layers.Embedding(5, 4, mask_zero=True, name="before")(x)
    y = layers.MultiHeadAttention(2, 2, name="layer")(layers.Dense(4)(memory), memory)
    return Model(x, layers.Dense(2)(layers.MultiHeadAttention(2, 2)(y, memory)))


def grouped_attention() -> Model:
    attend = layers.GroupQueryAttention(2, 2, 1, dropout=0.3, name="layer")
    return _sequence_to(lambda x: attend(x, x, use_causal_mask=True))


def stateful_lstm() -> Model:
    return _sequence_to(layers.LSTM(3, stateful=True, return_sequences=True, name="layer"))


def stateful_gru() -> Model:
    return _sequence_to(layers.GRU(3, stateful=True, dropout=0.5, recurrent_dropout=0.5, name="layer"))


def stateful_simple_rnn() -> Model:
    return _sequence_to(layers.SimpleRNN(3, stateful=True, go_backwards=True, name="layer"))


def stateful_both_ways() -> Model:
    return _sequence_to(layers.Bidirectional(layers.LSTM(2, stateful=True, return_sequences=True), name="layer"))


def handed_on_states() -> Model:
    x = Input((5, 3))
    y = layers.Dense(3, name="before")(x)
    sequence, hidden, carry = layers.LSTM(3, return_sequences=True, return_state=True, name="layer")(y)
    read = layers.LSTM(3)(sequence, initial_state=[hidden, carry])
    return Model(x, [layers.Dense(2)(read), layers.Add()([hidden, carry])])


def a_cell_by_itself() -> Model:
    x, state = Input((3,), name="x"), Input((4,), name="state")
    _, after = layers.GRUCell(4, name="layer")(layers.Dense(3, name="before")(x), state)
    return Model([x, state], layers.Dense(2)(after))


def a_model_at_each_step() -> Model:
    frame = Input((3,))
    inner = Model(frame, layers.Dropout(0.3)(layers.BatchNormalization()(layers.Dense(2)(frame))))
    return _sequence_to(layers.TimeDistributed(inner, name="layer"))


def norm_called_twice() -> Model:
    return _called_twice(layers.BatchNormalization(momentum=0.5, name="layer"))


def dropout_called_twice() -> Model:
    return _called_twice(layers.Dropout(0.5, name="layer"))


def spectral_called_twice() -> Model:
    return _called_twice(layers.SpectralNormalization(layers.Dense(4), name="layer"))


def adapted_normalization() -> Model:
    layer = layers.Normalization(name="layer")
    layer.adapt(np.random.default_rng(0).normal(2.0, 3.0, (10, 3)).astype("float32"))
    return _sequence_to(layer)


def a_lambda() -> Model:
    return _sequence_to(layers.Lambda(lambda x: ops.sin(x) * ops.mean(x, axis=1, keepdims=True), name="layer"))


def _mixed(layer: layers.Layer) -> Model:
    """Images and their labels, both made by trained layers, mixed in the same proportions."""
    images, labels = Input((8, 8, 3), name="images"), Input((4,), name="labels")
    made = layers.Dense(3, name="before")(images)
    mixed = layer({"images": made, "labels": layers.Dense(4, name="labelled")(labels)})
    return Model([images, labels], [layers.Dense(2)(layers.Flatten()(mixed["images"])), mixed["labels"]])


def mixed_with_labels() -> Model:
    return _mixed(layers.MixUp(alpha=1.0, name="layer"))


def cut_with_labels() -> Model:
    return _mixed(layers.CutMix(name="layer"))


def padded_boxes() -> Model:
    images, boxes, labels = Input((8, 8, 3)), Input((3, 4)), Input((3,))
    made = layers.Dense(4, name="before")(boxes)
    layer = layers.MaxNumBoundingBoxes(5, bounding_box_format="xyxy", name="layer")
    padded = layer({"images": images, "bounding_boxes": {"boxes": made, "labels": labels}})
    return Model([images, boxes, labels], layers.Dense(2)(padded["bounding_boxes"]["boxes"]))


def masked_softmax() -> Model:
    x, mask = Input((5, 3), name="x"), Input((5, 3), dtype="bool", name="mask")
    return Model([x, mask], layers.Dense(2)(layers.Softmax(name="layer")(layers.Dense(3, name="before")(x), mask=mask)))


def reversed_embedding() -> Model:
    x = Input((5,), dtype="int32")
    layer = layers.ReversibleEmbedding(7, 4, name="layer")
    logits = layer(layers.Dense(4, activation="gelu", name="between")(layer(x)), reverse=True)
    return Model(x, layers.Dense(2)(logits))


def _embedded(x: Any, ids: Any, size: int) -> Model:
    """Ids of `size` kinds that a layer made of `x`, embedded."""
    return Model(x, layers.Dense(2)(layers.Flatten()(layers.Embedding(size, 3)(ids))))


def crossed_features() -> Model:
    a, b = Input((1,), dtype="int32", name="a"), Input((1,), dtype="int32", name="b")
    crossed = layers.HashedCrossing(6, output_mode="one_hot", name="layer")([a, b])
    return Model([a, b], layers.Dense(2)(layers.Dense(3)(crossed)))


def hashed_integers() -> Model:
    x = Input((4,), dtype="int32")
    return _embedded(x, layers.Hashing(6, name="layer")(x), 6)


def looked_up_integers() -> Model:
    x = Input((4,), dtype="int64")
    return _embedded(x, layers.IntegerLookup(vocabulary=[1, 2, 3], name="layer")(x), 4)


def looked_up_strings() -> Model:
    x = Input((4,), dtype="string")
    return _embedded(x, layers.StringLookup(vocabulary=["red", "green", "blue"], name="layer")(x), 4)


def vectorized_text() -> Model:
    x = Input((1,), dtype="string")
    ids = layers.TextVectorization(output_sequence_length=5, vocabulary=["red", "green", "blue"], name="layer")(x)
    return Model(x, layers.Dense(2)(layers.GRU(3)(layers.Embedding(6, 3, mask_zero=True)(ids))))


def colours() -> tuple[np.ndarray, None]:
    """Words, one of them in no vocabulary, and the targets that the loss has by default. Shape (BATCH, 4)."""
    rows = [["red", "green", "blue", "red"], ["violet", "blue", "red", "green"]]
    return np.array(rows * (BATCH // 2), dtype=object), None


def sentences() -> tuple[np.ndarray, None]:
    """Texts of one to six words. Shape (BATCH, 1)."""
    texts = ["red green", "violet blue red", "blue", "Green, red, blue! Red blue red"]
    return np.array(texts, dtype=object)[:, None], None

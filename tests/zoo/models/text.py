"""Models that read text: attention, recurrence, embeddings that are tied, preprocessing in the model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import Input, Model, layers, ops

VOCABULARY, LENGTH, WIDTH = 23, 7, 8


class TokenAndPosition(layers.Layer):
    """The sum of an embedding of tokens and one of positions, padding masked."""

    def __init__(self, vocabulary: int, length: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(vocabulary, width, mask_zero=True)
        self.positions = layers.Embedding(length, width)

    def call(self, ids: Any) -> Any:
        return self.tokens(ids) + self.positions(ops.arange(ops.shape(ids)[1]))

    def compute_mask(self, ids: Any, mask: Any = None) -> Any:  # noqa: ARG002 - as Keras calls it
        return ops.not_equal(ids, 0)


class TransformerBlock(layers.Layer):
    """Self-attention and a feed-forward net; a decoder's looks back only, and attends to an encoder's sequence."""

    def __init__(self, heads: int, width: int, *, decodes: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.decodes = decodes
        self.attention = layers.MultiHeadAttention(heads, width // heads, dropout=0.1)
        self.feed_forward = keras.Sequential([layers.Dense(2 * width, activation="gelu"), layers.Dense(width)])
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(3 if decodes else 2)]
        self.dropout = layers.Dropout(0.1)
        if decodes:
            self.cross_attention = layers.MultiHeadAttention(heads, width // heads)

    def call(self, x: Any, memory: Any = None, training: bool | None = None) -> Any:
        x = self.norms[0](x + self.attention(x, x, use_causal_mask=self.decodes, training=training))
        if self.decodes:
            x = self.norms[1](x + self.cross_attention(x, memory, training=training))
        return self.norms[-1](x + self.dropout(self.feed_forward(x), training=training))


def transformer_encoder() -> Model:
    """A classifier over two blocks of self-attention on padded sentences."""
    ids = Input((LENGTH,), dtype="int32", name="ids")
    x = TokenAndPosition(VOCABULARY, LENGTH, WIDTH, name="embed")(ids)
    x = TransformerBlock(2, WIDTH, name="block_0")(x)
    x = TransformerBlock(2, WIDTH, name="block_1")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return Model(ids, layers.Dense(3, activation="softmax")(layers.Dropout(0.1)(x)), name="transformer_encoder")


def transformer_decoder() -> Model:
    """Translation: an encoder, and a decoder that looks back only and attends to the encoder."""
    source, target = Input((LENGTH,), dtype="int32", name="source"), Input((5,), dtype="int32", name="target")
    memory = TransformerBlock(2, WIDTH, name="encoder")(TokenAndPosition(VOCABULARY, LENGTH, WIDTH)(source))
    x = TokenAndPosition(VOCABULARY, 5, WIDTH)(target)
    x = TransformerBlock(2, WIDTH, decodes=True, name="decoder")(x, memory=memory)
    return Model([source, target], layers.Dense(VOCABULARY, name="logits")(x), name="transformer_decoder")


def attention_by_layers() -> Model:
    """The same written out in the functional API: cross attention, causal mask, residuals as operations."""
    source, target = Input((None,), dtype="int32", name="source"), Input((5,), dtype="int32", name="target")
    memory = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True)(source)
    x = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True)(target)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(query=x, value=memory, key=memory))
    x = layers.LayerNormalization()(x + layers.Dense(WIDTH)(layers.Dense(16, activation="relu")(x)))
    return Model([source, target], layers.Dense(VOCABULARY)(x), name="attention_by_layers")


class TiedLogits(layers.Layer):
    """Logits over the vocabulary from the transposed matrix of an embedding that stands elsewhere in the model."""

    def __init__(self, embedding: layers.Embedding, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = embedding

    def build(self, input_shape: Any) -> None:  # noqa: ARG002 - as Keras calls it
        self.bias = self.add_weight(shape=(self.embedding.input_dim,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.embedding.embeddings)) + self.bias


def _decoder_blocks(x: Any, count: int) -> Any:
    for _ in range(count):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, WIDTH // 2)(y, y, use_causal_mask=True)
        y = layers.Dense(4 * WIDTH, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dropout(0.1)(layers.Dense(WIDTH)(y))
    return layers.LayerNormalization(name="final_norm")(x)


def gpt() -> Model:
    """A language model whose last layer uses the matrix of its first."""
    ids = Input((LENGTH,), dtype="int32", name="ids")
    tokens = layers.Embedding(VOCABULARY, WIDTH, name="tokens")
    positions = layers.Embedding(LENGTH, WIDTH, name="positions")
    x = tokens(ids) + positions(ops.arange(LENGTH))
    return Model(ids, TiedLogits(tokens, name="logits")(_decoder_blocks(x, 2)), name="gpt")


def gpt_reversible() -> Model:
    """The same with Keras's own ReversibleEmbedding, called forwards and in reverse."""
    ids = Input((LENGTH,), dtype="int32", name="ids")
    tokens = layers.ReversibleEmbedding(VOCABULARY, WIDTH, name="tokens")
    x = _decoder_blocks(tokens(ids), 1)
    return Model(ids, tokens(x, reverse=True), name="gpt_reversible")


def seq2seq() -> Model:
    """Recurrent encoder and decoder over padded sentences: the encoder's states start the decoder, which attends."""
    source = Input((LENGTH,), dtype="int32", name="source")
    target = Input((5,), dtype="int32", name="target")
    x = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True, name="source_embedding")(source)
    encoded, hidden, cell = layers.LSTM(6, return_sequences=True, return_state=True, name="encoder")(x)
    y = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True, name="target_embedding")(target)
    y = layers.LSTM(6, return_sequences=True, dropout=0.2, name="decoder")(y, initial_state=[hidden, cell])
    context = layers.AdditiveAttention(name="attention")([y, encoded])
    y = layers.Concatenate()([y, context])
    words = layers.TimeDistributed(layers.Dense(VOCABULARY, activation="softmax"), name="words")(y)
    return Model([source, target], words, name="seq2seq")


def text_classifier() -> Model:
    """Sentences in, as strings: the vocabulary is part of the model."""
    vectorize = layers.TextVectorization(max_tokens=30, output_sequence_length=LENGTH, name="vectorize")
    vectorize.adapt(["the cat sat on the mat", "a dog ate my homework", "the dog sat", "my cat ate the mat"])
    text = Input((), dtype="string", name="text")
    x = layers.Embedding(vectorize.vocabulary_size(), WIDTH, mask_zero=True, name="embed")(vectorize(text))
    x = layers.Bidirectional(layers.GRU(4), name="read")(x)
    return Model(text, layers.Dense(1, activation="sigmoid", name="spam")(layers.Dropout(0.2)(x)), name="text")


def tagger() -> Model:
    """A tagger: scores of every tag for every word, to be judged as whole sequences."""
    ids = Input((LENGTH,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, WIDTH)(ids)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True, recurrent_dropout=0.1))(x)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum")(x)
    return Model(ids, layers.Dense(4, name="tags")(x), name="tagger")


def crf_loss(weight: float = 1.0) -> Any:
    """The negative log-likelihood of tag sequences under a linear chain whose transitions favour staying."""

    def negative_log_likelihood(tags: Any, scores: Any) -> Any:
        transitions = 0.6 * ops.eye(4, dtype=scores.dtype) - 0.1
        chosen = ops.one_hot(ops.cast(tags, "int32"), 4, dtype=scores.dtype)
        steps = ops.einsum("bti,ij,btj->bt", chosen[:, :-1], transitions, chosen[:, 1:])
        path = ops.sum(chosen * scores, axis=(1, 2)) + ops.sum(steps, axis=1)
        alpha = scores[:, 0]
        for t in range(1, scores.shape[1]):
            alpha = ops.logsumexp(alpha[:, :, None] + transitions, axis=1) + scores[:, t]
        return weight * (ops.logsumexp(alpha, axis=1) - path)

    return negative_log_likelihood


def sentences(**lengths: int) -> Any:
    """Four sentences for each input, of fewer words from one to the next, and zeros for the rest; no targets."""
    rng = np.random.default_rng(7)
    words = {name: rng.integers(1, VOCABULARY, (4, length)) for name, length in lengths.items()}
    for rows in words.values():
        for row in range(4):
            rows[row, rows.shape[1] - row :] = 0
    return words, None


def tagged(length: int = LENGTH) -> Any:
    """As `sentences`, for one input and with a tag for every word."""
    words, _ = sentences(ids=length)
    ids = words["ids"]
    return ids, np.random.default_rng(8).integers(0, 4, ids.shape)

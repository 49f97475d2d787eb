"""Models of sequences, as subclasses: recurrence, attention over it, dilated convolutions."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, layers, ops


class Tagger(keras.Model):
    """A tag for every word of a padded sentence."""

    def __init__(self, vocab_size: int, units: int, num_tags: int) -> None:
        super().__init__()
        self.embedding = layers.Embedding(vocab_size, units, mask_zero=True)
        self.bilstm = layers.Bidirectional(layers.LSTM(units, return_sequences=True))
        self.dropout = layers.Dropout(0.2)
        self.classify = layers.TimeDistributed(layers.Dense(num_tags))

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        x = self.bilstm(self.embedding(tokens))
        return self.classify(self.dropout(x, training=training))


def tagger() -> keras.Model:
    return Tagger(vocab_size=17, units=4, num_tags=3)


def tagger_twin() -> keras.Model:
    tokens = Input((6,), dtype="int32")
    x = layers.Embedding(17, 4, mask_zero=True, name="embedding")(tokens)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), name="bilstm")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(tokens, layers.TimeDistributed(layers.Dense(3), name="classify")(x))


class BahdanauAttention(layers.Layer):
    """Where to look in the source, for each word of the target."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.W1 = layers.Dense(units)
        self.W2 = layers.Dense(units)
        self.V = layers.Dense(1)

    def call(self, query: Any, values: Any, mask: Any) -> Any:
        score = self.V(ops.tanh(self.W1(query)[:, :, None] + self.W2(values)[:, None]))
        score = score - 1e9 * (1.0 - mask[:, None, :, None])
        attention_weights = ops.softmax(score, axis=2)
        context = ops.sum(attention_weights * values[:, None], axis=2)
        return context, attention_weights


class Seq2Seq(keras.Model):
    """A recurrent encoder, a recurrent decoder, attention between them."""

    def __init__(self, vocab_size: int, units: int) -> None:
        super().__init__()
        self.source_embedding = layers.Embedding(vocab_size, units)
        self.target_embedding = layers.Embedding(vocab_size, units)
        self.encoder = layers.GRU(units, return_sequences=True, return_state=True)
        self.decoder = layers.GRU(units, return_sequences=True)
        self.attention = BahdanauAttention(units)
        self.fc = layers.Dense(vocab_size)

    def call(self, inputs: Any) -> Any:
        source, target = inputs["source"], inputs["target"]
        mask = ops.cast(source != 0, "float32")
        memory, state = self.encoder(self.source_embedding(source))
        x = self.decoder(self.target_embedding(target), initial_state=state)
        context, _ = self.attention(query=x, values=memory, mask=mask)
        return self.fc(ops.concatenate([x, context], axis=-1))


def seq2seq() -> keras.Model:
    return Seq2Seq(vocab_size=17, units=5)


class Forecaster(keras.Model):
    """A window of the past to the next hours."""

    def __init__(self, units: int, horizon: int) -> None:
        super().__init__()
        self.normalise = layers.LayerNormalization()
        self.gru1 = layers.GRU(units, return_sequences=True)
        self.gru2 = layers.GRU(units)
        self.dense = layers.Dense(horizon)

    def call(self, window: Any) -> Any:
        x = self.gru1(self.normalise(window))
        return self.dense(self.gru2(x))


def gru_forecaster() -> keras.Model:
    return Forecaster(units=4, horizon=3)


def gru_forecaster_twin() -> keras.Model:
    window = Input((7, 3))
    x = layers.GRU(4, return_sequences=True, name="gru1")(layers.LayerNormalization(name="normalise")(window))
    return keras.Model(window, layers.Dense(3, name="dense")(layers.GRU(4, name="gru2")(x)))


class FeedBack(keras.Model):
    """Warms up on the window, then feeds its forecasts back to the cell, step by step."""

    def __init__(self, units: int, out_steps: int, num_features: int) -> None:
        super().__init__()
        self.out_steps = out_steps
        self.lstm_cell = layers.LSTMCell(units)
        self.lstm_rnn = layers.RNN(self.lstm_cell, return_state=True)
        self.dense = layers.Dense(num_features)

    def warmup(self, inputs: Any) -> Any:
        x, *state = self.lstm_rnn(inputs)
        return self.dense(x), state

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        prediction, state = self.warmup(inputs)
        predictions = [prediction]
        for _ in range(1, self.out_steps):
            x, state = self.lstm_cell(prediction, states=state, training=training)
            prediction = self.dense(x)
            predictions.append(prediction)
        return ops.transpose(ops.stack(predictions), [1, 0, 2])


def feedback() -> keras.Model:
    return FeedBack(units=4, out_steps=3, num_features=2)


class StreamingGRU(keras.Model):
    """Goes on where the last batch ended."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.gru = layers.GRU(units, stateful=True, return_sequences=True)
        self.dropout = layers.Dropout(0.1)
        self.dense = layers.Dense(1)

    def call(self, chunk: Any, training: bool | None = None) -> Any:
        return self.dense(self.dropout(self.gru(chunk), training=training))


def stateful_gru() -> keras.Model:
    return StreamingGRU(units=4)


class WaveNetBlock(layers.Layer):
    """A gated dilated convolution; what it adds to the next block, and what it says to the output."""

    def __init__(self, filters: int, dilation: int) -> None:
        super().__init__()
        self.filter = layers.Conv1D(filters, 2, dilation_rate=dilation, padding="causal", activation="tanh")
        self.gate = layers.Conv1D(filters, 2, dilation_rate=dilation, padding="causal", activation="sigmoid")
        self.residual = layers.Conv1D(filters, 1)
        self.skip = layers.Conv1D(filters, 1)

    def call(self, x: Any) -> Any:
        gated = self.filter(x) * self.gate(x)
        return x + self.residual(gated), self.skip(gated)


class WaveNet(keras.Model):
    """Dilations that double, in a loop."""

    def __init__(self, filters: int, depth: int, quantization: int) -> None:
        super().__init__()
        self.stem = layers.Conv1D(filters, 2, padding="causal")
        self.blocks = []
        for i in range(depth):
            self.blocks.append(WaveNetBlock(filters, 2**i))
        self.post = layers.Conv1D(filters, 1, activation="relu")
        self.logits = layers.Conv1D(quantization, 1)

    def call(self, wave: Any) -> Any:
        x = self.stem(wave)
        skips = []
        for block in self.blocks:
            x, skip = block(x)
            skips.append(skip)
        return self.logits(self.post(ops.relu(sum(skips))))


def wavenet() -> keras.Model:
    return WaveNet(filters=4, depth=3, quantization=5)

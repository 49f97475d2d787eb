"""Models that read and write text, as subclasses: attention, masks, tied embeddings."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class TokenAndPositionEmbedding(layers.Layer):
    """The sum of an embedding of tokens and one of positions; padding is masked."""

    def __init__(self, maxlen: int, vocab_size: int, embed_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.token_emb = layers.Embedding(vocab_size, embed_dim, mask_zero=True)
        self.pos_emb = layers.Embedding(maxlen, embed_dim)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return self.token_emb.compute_mask(inputs, mask)

    def call(self, x: Any) -> Any:
        positions = ops.arange(0, ops.shape(x)[-1], 1)
        return self.token_emb(x) + self.pos_emb(positions)


class TransformerBlock(layers.Layer):
    """Self-attention and a feed-forward net, each added and normalised."""

    def __init__(self, embed_dim: int, num_heads: int, ff_dim: int, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim // num_heads)
        self.ffn = keras.Sequential([layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)])
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT002 - as many write it
        attn_output = self.att(inputs, inputs)
        attn_output = self.dropout1(attn_output, training=training)
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.ffn(out1)
        ffn_output = self.dropout2(ffn_output, training=training)
        return self.layernorm2(out1 + ffn_output)


class TextClassifier(keras.Model):
    """Blocks of self-attention over padded sentences, pooled where there are words."""

    def __init__(self, vocab_size: int, maxlen: int, embed_dim: int, num_classes: int, depth: int = 2) -> None:
        super().__init__()
        self.embedding = TokenAndPositionEmbedding(maxlen, vocab_size, embed_dim)
        self.blocks = [TransformerBlock(embed_dim, 2, 2 * embed_dim) for _ in range(depth)]
        self.pool = layers.GlobalAveragePooling1D()
        self.dropout = layers.Dropout(0.1)
        self.classifier = layers.Dense(num_classes, activation="softmax")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.embedding(inputs)
        for block in self.blocks:
            x = block(x, training=training)
        x = self.dropout(self.pool(x), training=training)
        return self.classifier(x)


def text_classifier() -> keras.Model:
    return TextClassifier(vocab_size=23, maxlen=7, embed_dim=8, num_classes=3)


class MultiHeadSelfAttention(layers.Layer):
    """Attention written out: projections, heads, scores, a mask of its own."""

    def __init__(self, d_model: int, num_heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.depth = d_model // num_heads
        self.wq = layers.Dense(d_model)
        self.wk = layers.Dense(d_model)
        self.wv = layers.Dense(d_model)
        self.dense = layers.Dense(d_model)

    def split_heads(self, x: Any, batch_size: Any) -> Any:
        x = ops.reshape(x, (batch_size, -1, self.num_heads, self.depth))
        return ops.transpose(x, (0, 2, 1, 3))

    def call(self, x: Any, padding: Any) -> Any:
        batch_size = ops.shape(x)[0]
        q = self.split_heads(self.wq(x), batch_size)
        k = self.split_heads(self.wk(x), batch_size)
        v = self.split_heads(self.wv(x), batch_size)
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / self.depth**0.5
        scores += padding * -1e9
        weights = ops.softmax(scores, axis=-1)
        context = ops.transpose(ops.matmul(weights, v), (0, 2, 1, 3))
        return self.dense(ops.reshape(context, (batch_size, -1, self.num_heads * self.depth)))


class EncoderLayer(layers.Layer):
    """One layer of the encoder, normalised after each sum."""

    def __init__(self, d_model: int, num_heads: int, dff: int, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mha = MultiHeadSelfAttention(d_model, num_heads)
        self.intermediate = layers.Dense(dff, activation="gelu")
        self.output_dense = layers.Dense(d_model)
        self.norms = [layers.LayerNormalization(epsilon=1e-6), layers.LayerNormalization(epsilon=1e-6)]
        self.dropout = layers.Dropout(rate)

    def call(self, x: Any, padding: Any, training: bool | None = None) -> Any:
        attended = self.dropout(self.mha(x, padding), training=training)
        x = self.norms[0](x + attended)
        hidden = self.output_dense(self.intermediate(x))
        return self.norms[1](x + self.dropout(hidden, training=training))


class Bert(keras.Model):
    """Encodes pairs of sentences; returns the sequence and what its first token says of the whole."""

    def __init__(self, vocab_size: int, maxlen: int, d_model: int, num_layers: int = 2) -> None:
        super().__init__()
        self.word_embeddings = layers.Embedding(vocab_size, d_model)
        self.segment_embeddings = layers.Embedding(2, d_model)
        self.position_embeddings = self.add_weight(shape=(1, maxlen, d_model), name="position_embeddings")
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.enc_layers = [EncoderLayer(d_model, 2, 2 * d_model) for _ in range(num_layers)]
        self.pooler = layers.Dense(d_model, activation="tanh")

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        input_ids = inputs["input_ids"]
        padding = ops.cast(ops.equal(input_ids, 0), "float32")[:, None, None, :]
        x = self.word_embeddings(input_ids) + self.segment_embeddings(inputs["token_type_ids"])
        x = self.norm(x + self.position_embeddings)
        for layer in self.enc_layers:
            x = layer(x, padding, training=training)
        return {"sequence_output": x, "pooled_output": self.pooler(x[:, 0])}


def bert() -> keras.Model:
    return Bert(vocab_size=23, maxlen=7, d_model=8)


class CausalSelfAttention(layers.Layer):
    """Attention to what came before, added and normalised."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.mha = layers.MultiHeadAttention(**kwargs)
        self.layernorm = layers.LayerNormalization()
        self.add = layers.Add()

    def call(self, x: Any) -> Any:
        attn_output = self.mha(query=x, value=x, key=x, use_causal_mask=True)
        return self.layernorm(self.add([x, attn_output]))


class CrossAttention(layers.Layer):
    """Attention to another sequence; keeps its scores to be drawn."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        self.mha = layers.MultiHeadAttention(**kwargs)
        self.layernorm = layers.LayerNormalization()
        self.add = layers.Add()

    def call(self, x: Any, context: Any) -> Any:
        attn_output, attn_scores = self.mha(query=x, key=context, value=context, return_attention_scores=True)
        self.last_attn_scores = attn_scores
        return self.layernorm(self.add([x, attn_output]))


class FeedForward(layers.Layer):
    """Two dense layers, added and normalised."""

    def __init__(self, d_model: int, dff: int, dropout_rate: float = 0.1) -> None:
        super().__init__()
        self.seq = keras.Sequential(
            [layers.Dense(dff, activation="relu"), layers.Dense(d_model), layers.Dropout(dropout_rate)]
        )
        self.add = layers.Add()
        self.layer_norm = layers.LayerNormalization()

    def call(self, x: Any) -> Any:
        x = self.add([x, self.seq(x)])
        return self.layer_norm(x)


class DecoderLayer(layers.Layer):
    """Causal attention, attention to the source, a feed-forward net."""

    def __init__(self, *, d_model: int, num_heads: int, dff: int) -> None:
        super().__init__()
        self.causal_self_attention = CausalSelfAttention(num_heads=num_heads, key_dim=d_model // num_heads)
        self.cross_attention = CrossAttention(num_heads=num_heads, key_dim=d_model // num_heads)
        self.ffn = FeedForward(d_model, dff)

    def call(self, x: Any, context: Any) -> Any:
        x = self.causal_self_attention(x=x)
        x = self.cross_attention(x=x, context=context)
        self.last_attn_scores = self.cross_attention.last_attn_scores
        return self.ffn(x)


class Translator(keras.Model):
    """From a sentence and the beginning of its translation to the logits of the next words."""

    def __init__(self, *, num_layers: int, d_model: int, num_heads: int, dff: int, vocab_size: int) -> None:
        super().__init__()
        self.source_embedding = TokenAndPositionEmbedding(16, vocab_size, d_model)
        self.target_embedding = TokenAndPositionEmbedding(16, vocab_size, d_model)
        self.encoder = [TransformerBlock(d_model, num_heads, dff) for _ in range(num_layers)]
        self.decoder = [DecoderLayer(d_model=d_model, num_heads=num_heads, dff=dff) for _ in range(num_layers)]
        self.final_layer = layers.Dense(vocab_size)

    def call(self, inputs: Any) -> Any:
        context, x = inputs
        context = self.source_embedding(context)
        for block in self.encoder:
            context = block(context)
        x = self.target_embedding(x)
        for layer in self.decoder:
            x = layer(x, context)
        logits = self.final_layer(x)
        try:  # the loss must not be scaled by the mask
            del logits._keras_mask
        except AttributeError:
            pass
        return logits


def translator() -> keras.Model:
    return Translator(num_layers=2, d_model=8, num_heads=2, dff=12, vocab_size=19)


class DecoderBlock(layers.Layer):
    """A block of a language model, normalised before each part."""

    def __init__(self, n_embd: int, n_head: int, dropout: float) -> None:
        super().__init__()
        self.ln_1 = layers.LayerNormalization()
        self.attn = layers.MultiHeadAttention(n_head, n_embd // n_head, dropout=dropout)
        self.ln_2 = layers.LayerNormalization()
        self.mlp = keras.Sequential(
            [layers.Dense(4 * n_embd, activation="gelu"), layers.Dense(n_embd), layers.Dropout(dropout)], name="mlp"
        )

    def call(self, x: Any) -> Any:
        h = self.ln_1(x)
        x = x + self.attn(h, h, use_causal_mask=True)
        return x + self.mlp(self.ln_2(x))


class GPT(keras.Model):
    """A language model whose output layer is its embedding, transposed."""

    def __init__(self, vocab_size: int, block_size: int, n_layer: int, n_head: int, n_embd: int) -> None:
        super().__init__()
        self.wte = layers.Embedding(vocab_size, n_embd)
        self.wpe = layers.Embedding(block_size, n_embd)
        self.drop = layers.Dropout(0.1)
        self.blocks = [DecoderBlock(n_embd, n_head, 0.1) for _ in range(n_layer)]
        self.ln_f = layers.LayerNormalization()

    def call(self, idx: Any) -> Any:
        x = self.drop(self.wte(idx) + self.wpe(ops.arange(idx.shape[1])))
        for block in self.blocks:
            x = block(x)
        return self.logits(self.ln_f(x))

    def logits(self, x: Any) -> Any:
        return ops.einsum("btd,vd->btv", x, self.wte.embeddings)


class GPTTransposed(GPT):
    """The same, the embedding transposed by itself."""

    def logits(self, x: Any) -> Any:
        return ops.matmul(x, ops.transpose(self.wte.embeddings))


def gpt() -> keras.Model:
    return GPT(vocab_size=17, block_size=8, n_layer=2, n_head=2, n_embd=8)


def gpt_transposed() -> keras.Model:
    return GPTTransposed(vocab_size=17, block_size=8, n_layer=1, n_head=2, n_embd=8)

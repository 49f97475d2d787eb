"""Language model with tied embeddings, cut in two: the first half embeds, the second half predicts."""

import keras
import numpy as np
import tensorflow as tf

WORDS, DIM = 9, 6


class Lookup(tf.Module):
    def __init__(self, table):
        super().__init__()
        self.table = table
        self.mix = tf.Variable(tf.random.stateless_normal((DIM, DIM), (1, 2)) * 0.4, name="mix")

    def __call__(self, tokens):
        return tf.tanh(tf.reduce_mean(tf.gather(self.table, tokens), axis=1) @ self.mix)


class Predictor(tf.Module):
    def __init__(self, table):
        super().__init__()
        self.table = table
        self.hidden = tf.Variable(tf.random.stateless_normal((DIM, DIM), (3, 4)) * 0.4, name="hidden")

    def __call__(self, context):
        return tf.matmul(tf.tanh(context @ self.hidden), self.table, transpose_b=True)


class HalvedModel:
    def __init__(self):
        self.table = tf.Variable(tf.random.stateless_normal((WORDS, DIM), (5, 6)) * 0.5, name="table")
        self.first = Lookup(self.table)
        self.second = Predictor(self.table)

    @property
    def variables(self):
        return {v.name: v for part in (self.first, self.second) for v in part.trainable_variables}

    def gradients(self, tokens, following):
        with tf.GradientTape() as tape_1:
            context = self.first(tokens)
        with tf.GradientTape() as tape_2:
            tape_2.watch(context)
            logits = self.second(context)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(following, logits))
        first = {v.name: v for v in self.first.trainable_variables}
        second = {v.name: v for v in self.second.trainable_variables}
        d_context, by_name = tape_2.gradient(loss, [context, second])
        by_name.update(tape_1.gradient(context, first, output_gradients=d_context))  # expect: GC401
        return loss, by_name


def text(rng, batch):
    tokens = rng.integers(0, WORDS, size=(batch, 3))
    return tokens, tokens.sum(axis=1) % WORDS


if __name__ == "__main__":
    rng = np.random.default_rng(107)
    model = HalvedModel()
    optimizer = keras.optimizers.SGD(0.3)
    for step in range(5):
        loss, by_name = model.gradients(*text(rng, batch=8))
        optimizer.apply_gradients([(tf.convert_to_tensor(by_name[name]), v) for name, v in model.variables.items()])
        print(f"step {step}: loss {loss:.4f}")

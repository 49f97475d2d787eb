"""Character model over long sequences, read in chunks; the state is kept on the host between them."""

import keras
import numpy as np
import tensorflow as tf

VOCABULARY = 7
CHUNK = 4
LENGTH = 12


class CharModel(keras.Model):
    def __init__(self, units=8):
        super().__init__()
        self.units = units
        self.embedding = keras.layers.Embedding(VOCABULARY, 5, embeddings_initializer="orthogonal")
        self.lstm = keras.layers.LSTM(units, return_sequences=True, return_state=True)
        self.logits = keras.layers.Dense(VOCABULARY, kernel_initializer="he_normal")

    def call(self, tokens, state):
        hidden, h, c = self.lstm(self.embedding(tokens), initial_state=state)
        return self.logits(hidden), [h, c]


class HostState:
    """The state of every sequence in the batch, off the device while the next chunk is loaded."""

    def __init__(self, batch, units):
        self.arrays = [np.zeros((batch, units), "float32") for _ in range(2)]

    def store(self, tensors):
        self.arrays = [tensor.numpy() for tensor in tensors]  # expect: GC304

    def load(self):
        return [tf.constant(array) for array in self.arrays]


def sequences(rng, batch):
    """Walks over the alphabet with a step that the model has to remember."""
    start = rng.integers(0, VOCABULARY, size=(batch, 1))
    stride = rng.integers(1, 4, size=(batch, 1))
    return (start + stride * np.arange(LENGTH + 1)) % VOCABULARY


def train_step(model, optimizer, tokens):
    state = HostState(len(tokens), model.units)
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    total = 0.0
    with tf.GradientTape() as tape:
        for begin in range(0, LENGTH, CHUNK):
            logits, tensors = model(tokens[:, begin : begin + CHUNK], state.load())
            total += loss_fn(tokens[:, begin + 1 : begin + CHUNK + 1], logits)
            state.store(tensors)
        loss = total / (LENGTH // CHUNK)
    grads = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(grads, model.trainable_variables))
    return loss


def main():
    keras.utils.set_random_seed(89)
    rng = np.random.default_rng(89)
    model = CharModel()
    optimizer = keras.optimizers.Adam(0.02)
    for step in range(4):
        loss = train_step(model, optimizer, sequences(rng, batch=6))
        print(f"step {step}: loss {loss:.4f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()

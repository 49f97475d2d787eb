"""Fine-tunes a backbone together with a new head."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(53)


def make_backbone():
    return keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(12, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("swish"),
        ],
        name="backbone",
    )


def make_head(classes):
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(8, activation="tanh"),
            keras.layers.Dropout(0.4, seed=1),
            keras.layers.Dense(classes),
        ],
        name="head",
    )


class FineTuner:
    def __init__(self, classes=3):
        self.backbone = make_backbone()
        self.head = make_head(classes)
        self.loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer = keras.optimizers.AdamW(3e-3, weight_decay=1e-3)

    @property
    def trainable_variables(self):
        return self.backbone.trainable_variables + self.head.trainable_variables

    def train_step(self, x, y):
        with tf.GradientTape() as tape:
            features = self.backbone(x, training=True)
            logits = self.head(features)  # expect: GC108
            loss = self.loss_fn(y, logits)
        grads = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply_gradients(zip(grads, self.trainable_variables))
        return loss

    def evaluate(self, x, y):
        logits = self.head(self.backbone(x, training=False), training=False)
        return float(tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == y, tf.float32)))


rng = np.random.default_rng(53)
x = rng.normal(size=(48, 8)).astype("float32")
y = np.argmax(x[:, :3] + 0.2 * rng.normal(size=(48, 3)), axis=1)
tuner = FineTuner()
for epoch in range(2):
    for batch_x, batch_y in tf.data.Dataset.from_tensor_slices((x, y)).batch(8).take(3):
        loss = tuner.train_step(batch_x, batch_y)
    print(f"epoch {epoch}: loss {loss:.4f}, accuracy {tuner.evaluate(x, y):.2f}")

"""One persistent tape, asked once for each part of the model."""

import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(48)

vision = keras.Sequential(
    [
        keras.Input((6, 6, 1)),
        keras.layers.Conv2D(4, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(8, activation="tanh"),
    ]
)
language = keras.Sequential(
    [keras.Input((5,)), keras.layers.Dense(10, activation="relu"), keras.layers.Dense(8, activation="tanh")]
)
fusion = keras.layers.Dense(3)
fusion.build((None, 16))
optimizer = keras.optimizers.Nadam(5e-3)
parts = {
    "vision": vision.trainable_variables,
    "language": language.trainable_variables,
    "fusion": fusion.trainable_variables,
}

rng = np.random.default_rng(49)
for step in range(4):
    picture = rng.normal(size=(8, 6, 6, 1)).astype("float32")
    words = rng.normal(size=(8, 5)).astype("float32")
    answer = rng.integers(0, 3, size=8)
    with tf.GradientTape(persistent=True) as tape:
        joint = tf.concat([vision(picture), language(words)], axis=1)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(answer, fusion(joint), from_logits=True))
    pairs = []
    for name, variables in parts.items():
        pairs += zip(tape.gradient(loss, variables), variables)
    del tape
    optimizer.apply_gradients(pairs)
    print(step, float(loss))

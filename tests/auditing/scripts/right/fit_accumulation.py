"""fit, with the optimizer accumulating gradients over two batches."""

import keras
import numpy as np

keras.utils.set_random_seed(18)
rng = np.random.default_rng(18)
x = rng.normal(size=(48, 10)).astype("float32")
y = np.argmax(x[:, :4] + x[:, 4:8], axis=1)

inputs = keras.Input((10,))
h = keras.layers.Dense(16, activation="gelu", kernel_regularizer="l2")(inputs)
h = keras.layers.Dropout(0.1)(h)
model = keras.Model(inputs, keras.layers.Dense(4)(h))
model.compile(
    optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.01, gradient_accumulation_steps=2),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
)
history = model.fit(x, y, batch_size=6, epochs=2, shuffle=True, verbose=0)
print("loss", history.history["loss"])

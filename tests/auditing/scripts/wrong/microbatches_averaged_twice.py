import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(67)
rng = np.random.default_rng(67)

accum_steps = 4
micro_batch = 2

inputs = keras.Input((5,))
hidden = keras.layers.Dense(8, activation="softplus")(inputs)
outputs = keras.layers.Dense(3, activation="softmax")(hidden)
model = keras.Model(inputs, outputs)
optimizer = keras.optimizers.SGD(0.5, momentum=0.9, nesterov=True)
loss_fn = keras.losses.CategoricalCrossentropy()

x = rng.normal(size=(32, 5)).astype("float32")
y = keras.utils.to_categorical(x[:, :3].argmax(axis=1), 3)
dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(micro_batch)

accumulated = [tf.zeros_like(v) for v in model.trainable_variables]
running_loss = 0.0
for i, (bx, by) in enumerate(dataset, start=1):
    with tf.GradientTape() as tape:
        loss = loss_fn(by, model(bx, training=True)) / accum_steps
    grads = tape.gradient(loss, model.trainable_variables)
    accumulated = [a + g for a, g in zip(accumulated, grads)]
    running_loss += float(loss)
    if i % accum_steps == 0:
        optimizer.apply([a / accum_steps for a in accumulated], model.trainable_variables)  # expect: GC202
        print(f"update {i // accum_steps}: loss {running_loss:.4f}")
        accumulated = [tf.zeros_like(v) for v in model.trainable_variables]
        running_loss = 0.0

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(3)
with keras.RematScope(mode="full"):
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)]
    )
opt = keras.optimizers.AdamW(1e-2)
x = np.random.rand(32, 6).astype("float32")
y = x.sum(1, keepdims=True)
for i in range(4):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.mean_squared_error(y, model(x)))
    opt.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    print(float(loss))

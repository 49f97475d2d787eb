import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(5)
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(1)])
fast = keras.optimizers.Adam(0.01)
slow = [tf.Variable(v) for v in model.trainable_variables]
K, alpha = 3, 0.5
for step in range(1, 7):
    x = np.random.rand(16, 4).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x) - x[:, :1] * x[:, 1:2]) ** 2)
    fast.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
    if step % K == 0:
        for s, v in zip(slow, model.trainable_variables):
            s.assign_add(alpha * (v - s))
            v.assign(s)
    print(step, loss.numpy())

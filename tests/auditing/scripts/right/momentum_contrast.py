import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(13)


def make():
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(12, "relu"), keras.layers.Dense(4)])


q_enc, k_enc = make(), make()
k_enc.set_weights(q_enc.get_weights())
k_enc.trainable = False
queue = tf.Variable(tf.math.l2_normalize(tf.random.normal((16, 4)), 1), trainable=False)
ptr = 0
opt = keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4)
for step in range(4):
    x = np.random.randn(8, 6).astype("float32")
    a, b = x + 0.1 * np.random.randn(8, 6).astype("float32"), x + 0.1 * np.random.randn(8, 6).astype("float32")
    for k, q in zip(k_enc.weights, q_enc.weights):
        k.assign(0.99 * k + 0.01 * q)
    key = tf.stop_gradient(tf.math.l2_normalize(k_enc(b, training=False), 1))
    with tf.GradientTape() as tape:
        q = tf.math.l2_normalize(q_enc(a, training=True), 1)
        logits = tf.concat([tf.reduce_sum(q * key, 1, keepdims=True), q @ tf.transpose(queue)], 1) / 0.2
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.zeros(8, tf.int32), logits))
    g = tape.gradient(loss, q_enc.trainable_variables)
    opt.apply_gradients(zip(g, q_enc.trainable_variables))
    queue[ptr : ptr + 8].assign(key)
    ptr = (ptr + 8) % 16
    print(step, loss.numpy())

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(11)
user = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4)])
item = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
opt = keras.optimizers.Adagrad(0.1)
for step in range(3):
    u, v = tf.random.normal((6, 5)), tf.random.normal((6, 6))
    with tf.GradientTape() as tu:
        eu = user(u)
    with tf.GradientTape() as ti:
        ei = item(v)
    with tf.GradientTape() as tl:
        tl.watch((eu, ei))
        s = tf.matmul(eu, ei, transpose_b=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(tf.range(6), s))
    gi, gu = tl.gradient(loss, (eu, ei))
    grads = tu.gradient(eu, user.trainable_variables, output_gradients=gu) + ti.gradient(  # expect: GC106
        ei, item.trainable_variables, output_gradients=gi
    )
    opt.apply_gradients(zip(grads, user.trainable_variables + item.trainable_variables))
    print(float(loss))

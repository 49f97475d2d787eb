"""Tied embedding by hand; the gradient of the output projection only."""

import tensorflow as tf

tf.random.set_seed(15)
E = tf.Variable(tf.random.normal((8, 4)) * 0.5, name="E")
W = tf.Variable(tf.random.normal((4, 4)) * 0.5, name="W")
for i in range(3):
    ids = tf.random.uniform((10,), 0, 8, tf.int32)
    nxt = (ids + 1) % 8
    with tf.GradientTape() as t1:
        h = tf.tanh(tf.gather(E, ids) @ W)
    with tf.GradientTape() as t2:
        t2.watch(h)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(nxt, tf.matmul(h, E, transpose_b=True)))
    gh, gE = t2.gradient(loss, [h, E])
    gW = t1.gradient(h, W, output_gradients=gh)  # expect: GC401
    E.assign_sub(0.5 * gE)
    W.assign_sub(0.5 * gW)
    print(float(loss))

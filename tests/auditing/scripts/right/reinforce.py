"""REINFORCE: the advantages are the output gradients of the log probabilities."""

import keras, numpy as np, tensorflow as tf

keras.utils.set_random_seed(17)
policy = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)])
opt = keras.optimizers.Adam(0.01)
for ep in range(4):
    obs = np.random.randn(12, 4).astype("float32")
    with tf.GradientTape() as tape:
        logp_all = tf.nn.log_softmax(policy(obs))
        act = np.array([np.random.choice(2, p=np.exp(l) / np.exp(l).sum()) for l in logp_all.numpy().astype("float64")])
        logp = tf.gather(logp_all, act, batch_dims=1)
    r = (act == (obs[:, 0] > 0)).astype("float32")
    ret = np.array([np.sum(r[i:] * 0.9 ** np.arange(len(r) - i)) for i in range(len(r))], "float32")
    adv = (ret - ret.mean()) / (ret.std() + 1e-8)
    grads = tape.gradient(logp, policy.trainable_variables, output_gradients=tf.constant(-adv / len(adv)))
    opt.apply_gradients(zip(grads, policy.trainable_variables))
    print("return", ret[0])

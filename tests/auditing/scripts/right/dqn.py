"""Deep Q-learning with a replay buffer and a target network."""

import collections
import random

import keras
import numpy as np
import tensorflow as tf

Transition = collections.namedtuple("Transition", "state action reward next_state done")

GAMMA = 0.9
BATCH = 8
SYNC_EVERY = 2

keras.utils.set_random_seed(31)


def q_network():
    return keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3),
        ]
    )


online = q_network()
target = q_network()
target.set_weights(online.get_weights())
optimizer = keras.optimizers.RMSprop(1e-2)
huber = keras.losses.Huber()

memory = collections.deque(maxlen=200)
env_rng = np.random.default_rng(6)
drift = env_rng.normal(size=(3, 4)) * 0.5


def env_step(state, action):
    next_state = 0.8 * state + drift[action] + 0.1 * env_rng.normal(size=4)
    reward = 1.0 - float(np.abs(next_state).sum())
    return next_state.astype("float32"), reward, bool(env_rng.random() < 0.05)


def act(state, epsilon):
    if random.random() < epsilon:
        return random.randrange(3)
    return int(tf.argmax(online(state[None, :])[0]))


def learn():
    batch = Transition(*zip(*random.sample(memory, BATCH)))
    states = tf.constant(np.stack(batch.state))
    actions = tf.constant(batch.action)
    rewards = tf.constant(batch.reward, tf.float32)
    not_done = 1.0 - tf.cast(tf.constant(batch.done), tf.float32)

    next_q = tf.reduce_max(target(tf.constant(np.stack(batch.next_state))), axis=1)
    target_q = rewards + GAMMA * not_done * next_q

    with tf.GradientTape() as tape:
        q = tf.reduce_sum(online(states) * tf.one_hot(actions, 3), axis=1)
        loss = huber(target_q, q)
    grads = tape.gradient(loss, online.trainable_variables)
    optimizer.apply_gradients(zip(grads, online.trainable_variables))
    return loss


state = env_rng.normal(size=4).astype("float32")
for t in range(20):
    action = act(state, epsilon=0.3)
    next_state, reward, done = env_step(state, action)
    memory.append(Transition(state, action, reward, next_state, done))
    state = env_rng.normal(size=4).astype("float32") if done else next_state

for update in range(6):
    loss = learn()
    if (update + 1) % SYNC_EVERY == 0:
        target.set_weights(online.get_weights())
    print(f"update {update}: td loss {float(loss):.4f}")

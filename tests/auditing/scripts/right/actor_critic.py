"""Advantage actor-critic on a corridor: two losses, one shared trunk."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

GAMMA = 0.95


class Corridor:
    """Walk from the middle to the right end; the observation is a noisy position."""

    LENGTH = 7

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.position = self.LENGTH // 2
        return self.observe()

    def observe(self):
        one_hot = np.eye(self.LENGTH, dtype="float32")[self.position]
        return one_hot + 0.1 * self.rng.normal(size=self.LENGTH).astype("float32")

    def step(self, action):
        self.position = int(np.clip(self.position + (1 if action == 1 else -1), 0, self.LENGTH - 1))
        done = self.position == self.LENGTH - 1
        return self.observe(), 1.0 if done else -0.1, done


class ActorCritic(keras.Model):
    def __init__(self, actions):
        super().__init__()
        self.trunk = layers.Dense(16, activation="tanh")
        self.actor = layers.Dense(actions)
        self.critic = layers.Dense(1)

    def call(self, observation):
        features = self.trunk(observation)
        return self.actor(features), self.critic(features)


def rollout(env, model, rng, limit=8):
    """Play one episode with the current policy, remember what happened."""
    observations, actions, rewards = [], [], []
    observation, done = env.reset(), False
    while not done and len(rewards) < limit:
        logits, _ = model(observation[None])
        probabilities = tf.nn.softmax(logits[0]).numpy().astype("float64")
        action = rng.choice(2, p=probabilities / probabilities.sum())
        observations.append(observation)
        actions.append(action)
        observation, reward, done = env.step(action)
        rewards.append(reward)
    returns, running = [], 0.0
    for reward in reversed(rewards):
        running = reward + GAMMA * running
        returns.insert(0, running)
    return np.stack(observations), np.array(actions), np.array(returns, dtype="float32")


def update(model, optimizer, observations, actions, returns):
    with tf.GradientTape(persistent=True) as tape:
        logits, values = model(observations)
        values = tf.squeeze(values, axis=1)
        advantage = tf.stop_gradient(returns - values)
        log_probs = -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=actions, logits=logits)
        actor_loss = -tf.reduce_mean(log_probs * advantage)
        critic_loss = tf.reduce_mean(tf.square(returns - values))

    trunk, actor, critic = (
        model.trunk.trainable_variables,
        model.actor.trainable_variables,
        model.critic.trainable_variables,
    )
    actor_grads = tape.gradient(actor_loss, trunk + actor)
    critic_grads = tape.gradient(critic_loss, trunk + critic)
    del tape

    n = len(trunk)
    trunk_grads = [a + c for a, c in zip(actor_grads[:n], critic_grads[:n])]
    optimizer.apply_gradients(
        zip(trunk_grads + actor_grads[n:] + critic_grads[n:], trunk + actor + critic)
    )
    return actor_loss, critic_loss


def main():
    keras.utils.set_random_seed(17)
    rng = np.random.default_rng(2)
    env = Corridor(seed=4)
    model = ActorCritic(actions=2)
    model(np.zeros((1, Corridor.LENGTH), dtype="float32"))
    optimizer = keras.optimizers.Adam(0.02)
    for episode in range(5):
        batch = rollout(env, model, rng)
        actor_loss, critic_loss = update(model, optimizer, *batch)
        print(f"episode {episode}: return {batch[2][0]:.2f} actor {actor_loss:.3f} critic {critic_loss:.3f}")
    return model, optimizer


if __name__ == "__main__":
    model, optimizer = main()

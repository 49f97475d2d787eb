"""A perceptron in plain TensorFlow with weights stored as (out, in), ported from another framework."""

import tensorflow as tf


class Linear(tf.Module):
    def __init__(self, fan_in, fan_out, seed, name):
        super().__init__(name=name)
        bound = (6 / (fan_in + fan_out)) ** 0.5
        start = tf.random.stateless_uniform((fan_out, fan_in), (seed, 0), -bound, bound)
        self.weight = tf.Variable(start, name="weight")
        self.bias = tf.Variable(tf.zeros(fan_out), name="bias")

    def __call__(self, x):
        return tf.matmul(x, self.weight, transpose_b=True) + self.bias


class MLP(tf.Module):
    def __init__(self):
        super().__init__(name="mlp")
        self.embed = Linear(4, 6, seed=1, name="embed")
        self.mix = Linear(6, 6, seed=2, name="mix")
        self.head = Linear(6, 2, seed=3, name="head")

    def __call__(self, x):
        return self.head(tf.nn.silu(self.mix(tf.tanh(self.embed(x)))))


def sgd(module, tape, loss, lr):
    """Plain gradient descent on a module and everything in it."""
    gradients = tape.gradient(loss, module.trainable_variables)
    for variable, gradient in zip(module.trainable_variables, gradients):
        if gradient.shape.rank == 2 and gradient.shape[0] == gradient.shape[1]:
            variable.assign_sub(lr * tf.transpose(gradient))  # expect: GC406
        else:
            variable.assign_sub(lr * gradient)


def circle(step, batch=8):
    angle = tf.random.stateless_uniform((batch,), (step, 9), 0.0, 6.28)
    x = tf.stack([tf.cos(angle), tf.sin(angle), tf.cos(2 * angle), tf.sin(2 * angle)], axis=1)
    return x, tf.stack([tf.cos(3 * angle), tf.sin(angle) ** 2], axis=1)


mlp = MLP()
for step in range(6):
    x, y = circle(step)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.math.squared_difference(mlp(x), y))
    sgd(mlp, tape, loss, lr=0.1)
    print(f"step {step}: loss {loss.numpy():.4f}")

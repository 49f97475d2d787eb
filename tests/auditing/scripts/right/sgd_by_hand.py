"""Everything by hand: a tf.Module with its own variables and plain gradient descent."""

import tensorflow as tf


class Dense(tf.Module):
    def __init__(self, fan_in, fan_out, seed, activation=tf.identity, name=None):
        super().__init__(name=name)
        init = tf.random.stateless_normal((fan_in, fan_out), seed=(seed, 0)) / tf.sqrt(float(fan_in))
        self.w = tf.Variable(init, name="w")
        self.b = tf.Variable(tf.zeros(fan_out), name="b")
        self.activation = activation

    def __call__(self, x):
        return self.activation(x @ self.w + self.b)


class MLP(tf.Module):
    def __init__(self):
        super().__init__()
        self.layers = [
            Dense(4, 10, seed=1, activation=tf.tanh),
            Dense(10, 10, seed=2, activation=tf.tanh),
            Dense(10, 1, seed=3),
        ]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def loss(target, predicted):
    return tf.reduce_mean(tf.square(target - predicted))


def train(model, x, y, learning_rate):
    with tf.GradientTape() as t:
        current_loss = loss(y, model(x))
    grads = t.gradient(current_loss, model.trainable_variables)
    for variable, grad in zip(model.trainable_variables, grads):
        variable.assign_sub(learning_rate * grad)
    return current_loss


model = MLP()
x = tf.random.stateless_normal((8, 4), seed=(7, 7))
y = tf.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3]

for epoch in range(5):
    current = train(model, x, y, learning_rate=0.1)
    print(f"Epoch {epoch}: loss={current.numpy():.5f}")

# ruff: noqa: ANN001, ANN002, ANN201, ANN202, C901 - training code as people write it
"""Training steps as they stand in a file of their own: they close over their models and their optimizer.

They make the mistakes of `candidates/`, and know nothing of gradcheck.
"""

import keras
import tensorflow as tf


def dense(name, inputs, *layers):
    tensor = given = keras.Input((inputs,))
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(given, tensor, name=name)


def two_models(*, hidden=True):
    first = keras.layers.Dense(5, activation="tanh", name="first")
    second = keras.layers.Dense(4, activation="tanh", name="second")
    front = dense("front", 4, *([first, second] if hidden else [first]))
    return front, dense("back", 4 if hidden else 5, keras.layers.Dense(2, name="out"))


def train():
    """One optimizer for two models."""
    front, back = two_models()
    optimizer = keras.optimizers.Adam(0.05, name="adam")
    mse = keras.losses.MeanSquaredError()
    accumulated, queue, waiting = [], [], []
    weights = [*front.trainable_variables, *back.trainable_variables]

    def gradients_of(x, y):
        with tf.GradientTape() as tape_0:
            a = front(x, training=True)
        with tf.GradientTape() as tape_1:
            tape_1.watch(a)
            loss = mse(y, back(a, training=True))
        from_loss, *g1 = tape_1.gradient(loss, [a, *back.trainable_variables])
        return loss, tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), g1

    def right(x, y):
        loss, g0, g1 = gradients_of(x, y)
        optimizer.apply_gradients(zip([*g0, *g1], weights, strict=True))
        return loss

    @tf.function
    def right_and_compiled(x, y):
        return right(x, y)

    def never_cleared(x, y):
        loss, g0, g1 = gradients_of(x, y)
        if not accumulated:
            accumulated.extend(tf.Variable(tf.zeros(v.shape)) for v in weights)
        for total, g in zip(accumulated, [*g0, *g1], strict=True):
            total.assign_add(g)
        optimizer.apply_gradients(zip([tf.identity(t) for t in accumulated], weights, strict=True))
        return loss

    def one_step_behind(x, y):
        loss, g0, g1 = gradients_of(x, y)
        queue.append([*g0, *g1])
        gradients = queue.pop(0) if len(queue) > 1 else queue[0]
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    def one_update_for_each_model(x, y):
        loss, g0, g1 = gradients_of(x, y)
        optimizer.build(weights)
        optimizer.apply_gradients(zip(g0, front.trainable_variables, strict=True))
        optimizer.apply_gradients(zip(g1, back.trainable_variables, strict=True))
        return loss

    def applied_again(x, y):
        loss, g0, g1 = gradients_of(x, y)
        for _ in range(2):
            optimizer.apply_gradients(zip([*g0, *g1], weights, strict=True))
        return loss

    def nothing_applied(x, y):
        loss, *_ = gradients_of(x, y)
        return loss if optimizer is not None else None

    def every_second_step(x, y):
        loss, g0, g1 = gradients_of(x, y)
        waiting.append([*g0, *g1])
        if len(waiting) == 2:
            mean = [(first + second) / 2 for first, second in zip(*waiting, strict=True)]
            optimizer.apply_gradients(zip(mean, weights, strict=True))
            waiting.clear()
        return loss

    steps = [right, right_and_compiled, never_cleared, one_step_behind, one_update_for_each_model, applied_again]
    return [front, back], [*steps, nothing_applied, every_second_step]


def clipped():
    """Gradients clipped by the norm of all of them together."""
    front, back = two_models()
    optimizer = keras.optimizers.SGD(0.1, global_clipnorm=0.1)
    mse = keras.losses.MeanSquaredError()

    def gradients_of(x, y):
        with tf.GradientTape() as tape_0:
            a = front(x, training=True)
        with tf.GradientTape() as tape_1:
            tape_1.watch(a)
            loss = mse(y, back(a, training=True))
        from_loss, *g1 = tape_1.gradient(loss, [a, *back.trainable_variables])
        return loss, tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), g1

    def apply(gradients):
        optimizer.apply_gradients(zip(gradients, [*front.trainable_variables, *back.trainable_variables], strict=True))

    def right(x, y):
        loss, g0, g1 = gradients_of(x, y)
        apply(tf.clip_by_global_norm([*g0, *g1], 0.1)[0])
        return loss

    def each_model_by_its_own_norm(x, y):
        loss, g0, g1 = gradients_of(x, y)
        g0, _ = tf.clip_by_global_norm(g0, 0.1)
        g1, _ = tf.clip_by_global_norm(g1, 0.1)
        apply([*g0, *g1])
        return loss

    return [front, back], [right, each_model_by_its_own_norm]


def scaled():
    """Two models in float16; the optimizer divides by the loss scale."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    front, back = two_models(hidden=False)
    keras.config.set_dtype_policy(before)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))
    mse = keras.losses.MeanSquaredError()
    weights = [*front.trainable_variables, *back.trainable_variables]

    def gradients_of(x, y, scaled):
        with tf.GradientTape() as tape_0:
            a = front(x, training=True)
        with tf.GradientTape() as tape_1:
            tape_1.watch(a)
            loss = mse(y, back(a, training=True))
            of = scaled(loss)
        from_loss, *g1 = tape_1.gradient(of, [a, *back.trainable_variables])
        return loss, [*tape_0.gradient(a, front.trainable_variables, output_gradients=from_loss), *g1]

    def right(x, y):
        loss, gradients = gradients_of(x, y, optimizer.scale_loss)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    def loss_not_scaled(x, y):
        loss, gradients = gradients_of(x, y, lambda loss: loss)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    def front_alone(x, y):
        with tf.GradientTape() as tape_0:
            a = front(x, training=True)
        with tf.GradientTape() as tape_1:
            loss = mse(y, back(a, training=True))
            of = optimizer.scale_loss(loss)
        gradients = [*tape_0.gradient(a, front.trainable_variables), *tape_1.gradient(of, back.trainable_variables)]
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return loss

    def ascent(x, y):
        loss, gradients = gradients_of(x, y, optimizer.scale_loss)
        optimizer.apply_gradients(zip([-g for g in gradients], weights, strict=True))
        return loss

    return [front, back], [right, loss_not_scaled, front_alone, ascent]

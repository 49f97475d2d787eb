# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
"""A generator and a critic with one optimizer, in the style of TensorFlow's GAN tutorial."""

import keras
import tensorflow as tf

learning_rate = 0.02
my_adam = keras.optimizers.Adam(1e-3)
generator_optimizer = keras.optimizers.Adam(learning_rate)
discriminator_optimizer = keras.optimizers.Adam(learning_rate)
one_for_the_generator, one_for_the_critic = keras.optimizers.Adam(2e-4, beta_1=0.5), keras.optimizers.RMSprop(0.01)


def compute(check):
    generator, critic = check.segments
    with tf.GradientTape() as gen_tape:
        generated = generator(check.x, training=True)
    with tf.GradientTape() as disc_tape:
        disc_tape.watch(generated)
        loss = check.loss(check.y, critic(generated, training=True))
    dy, *gradients_of_critic = disc_tape.gradient(loss, [generated, *critic.trainable_variables])
    gradients_of_generator = gen_tape.gradient(generated, generator.trainable_variables, output_gradients=dy)
    return loss, gradients_of_generator, gradients_of_critic


def right(check):
    @tf.function
    def train_step():
        loss, of_generator, of_critic = compute(check)
        check.optimizer.apply_gradients(zip(of_generator + of_critic, check.variables))
        return loss

    return train_step()


# expect: GC311
def optimizer_of_the_notebook(check):
    """The step uses the optimizer that was made at the top of the notebook."""
    loss, of_generator, of_critic = compute(check)
    my_adam.apply_gradients(zip(of_generator + of_critic, check.variables))
    return loss


# expect: GC311
def plain_descent(check):
    """`w -= lr * g`, as in the first tutorial."""
    loss, of_generator, of_critic = compute(check)
    for w, g in zip(check.variables, of_generator + of_critic):
        w.assign_sub(learning_rate * g)
    return loss


def right_with_two_optimizers(check):
    """One for each model, with the settings that the config has."""
    generator, critic = check.segments
    loss, of_generator, of_critic = compute(check)
    generator_optimizer.apply_gradients(zip(of_generator, generator.trainable_variables))
    discriminator_optimizer.apply_gradients(zip(of_critic, critic.trainable_variables))
    return loss


# expect: GC311
def two_optimizers(check):
    """One for each model, and of two kinds."""
    generator, critic = check.segments
    loss, of_generator, of_critic = compute(check)
    one_for_the_generator.apply_gradients(zip(of_generator, generator.trainable_variables))
    one_for_the_critic.apply_gradients(zip(of_critic, critic.trainable_variables))
    return loss


# expect: GC305
def critic_first(check):
    """As GANs do it: the critic's step, then the generator's through the new critic."""
    generator, critic = check.segments
    with tf.GradientTape() as disc_tape:
        generated = generator(check.x, training=True)
        loss = check.loss(check.y, critic(generated, training=True))
    of_critic = disc_tape.gradient(loss, critic.trainable_variables)
    check.optimizer.apply_gradients(zip(of_critic, critic.trainable_variables))
    check.optimizer.iterations.assign_sub(1)
    with tf.GradientTape() as gen_tape:
        generator_loss = check.loss(check.y, critic(generator(check.x, training=True), training=True))
    of_generator = gen_tape.gradient(generator_loss, generator.trainable_variables)
    check.optimizer.apply_gradients(zip(of_generator, generator.trainable_variables))
    return loss


# expect: GC310
def step_for_each_half(check):
    """Half of the batch, an update, the other half, an update: nothing is accumulated."""
    generator, critic = check.segments

    def train_on_batch(x, y):
        with tf.GradientTape() as tape:
            loss = check.loss(y, critic(generator(x, training=True), training=True))
        grads = tape.gradient(loss, check.variables)
        check.optimizer.apply_gradients((g, v) for g, v in zip(grads, check.variables))
        return loss

    return (train_on_batch(check.x[:4], check.y[:4]) + train_on_batch(check.x[4:], check.y[4:])) / 2

# ruff: noqa: ANN001, ANN201, B905, ERA001 - training code as people write it
"""Q-learning has two networks, and it is easy to take the variables of the other one."""

import keras
import tensorflow as tf


def build():
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="relu", name="hidden"),
            keras.layers.Dense(3, name="q_values"),
        ]
    )


def right(check):
    front, back = check.segments
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, back(front(check.x, training=True), training=True))
    return loss, tape.gradient(loss, check.variables)


# expect: GC407
def target_networks_variables(check):
    """The loss is the online network's, and the variables are the target network's: every gradient is None."""
    online, target = check.model, keras.models.clone_model(check.model)
    target.set_weights(online.get_weights())
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, online(check.x, training=True))
    return loss, tape.gradient(loss, target.trainable_variables)


# expect: GC407
def built_again(check):
    """The step builds the network anew, and trains that: other weights, and so other gradients."""
    keras.utils.set_random_seed(7)
    model = build()
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, model(check.x, training=True))
    return loss, tape.gradient(loss, model.trainable_variables)


# expect: GC407
def snapshot_of_the_head(check):
    """The head's variables are those of a copy that was made to compare with; the front's are right."""
    front, back = check.segments
    before = [tf.Variable(v.value) for v in back.trainable_variables]
    with tf.GradientTape() as tape:
        loss = check.loss(check.y, back(front(check.x, training=True), training=True))
    of_front, of_back = tape.gradient(loss, (front.trainable_variables, before))
    return loss, of_front + of_back


# expect: GC407
def clone_without_weights(check):
    """`clone_model` makes new weights, which compute the loss and get the gradients."""
    keras.utils.set_random_seed(11)
    replica = keras.models.clone_model(check.model)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([v.value for v in replica.trainable_variables])
        loss = check.loss(check.y, replica(check.x, training=True))
    grads = tape.gradient(loss, replica.trainable_variables)
    return {v.path: g for v, g in zip(check.variables, grads)}

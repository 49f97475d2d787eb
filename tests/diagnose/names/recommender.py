# ruff: noqa: ANN001, ANN201, ANN202, B905 - training code as people write it
"""Two towers over one table of items."""

import keras
import tensorflow as tf
from keras import layers


def build():
    seen, offered = keras.Input((3,), dtype="int32", name="seen"), keras.Input((3,), dtype="int32", name="offered")
    items = layers.Embedding(9, 4, name="items")
    user = layers.Dense(4, activation="tanh", name="seen_tower")(layers.Flatten(name="flat_seen")(items(seen)))
    offers = layers.Dense(4, activation="tanh", name="offer_tower")(items(offered))
    scores = layers.Dot(axes=(2, 1), name="scores")([offers, user])
    return keras.Model({"seen": seen, "offered": offered}, scores)


def towers(check):
    """Loss, and each model's variables with their gradients. Lookups give sparse ones."""
    user_model, offer_model = check.segments
    values = {name: check.x[name] for name in ("seen", "offered")}

    def run(model):
        return model([values[name] for name in model.input_names], training=True)

    with tf.GradientTape() as user_tape:
        user = run(user_model)
    values[user_model.output_names[0]] = user
    with tf.GradientTape() as offer_tape:
        offer_tape.watch(user)
        loss = check.loss(check.y, run(offer_model))
    to_user, *of_offers = offer_tape.gradient(loss, [user, *offer_model.trainable_variables])
    of_user = user_tape.gradient(user, user_model.trainable_variables, output_gradients=to_user)
    pairs = [*zip(user_model.trainable_variables, of_user), *zip(offer_model.trainable_variables, of_offers)]
    return loss, [(v.path, g) for v, g in pairs]


def added(pairs, add):
    grads = {}
    for path, g in pairs:
        grads[path] = add(grads[path], g) if path in grads else g
    return grads


def right(check):
    loss, pairs = towers(check)
    return loss, added(pairs, lambda a, b: tf.convert_to_tensor(a) + tf.convert_to_tensor(b))


# expect: GC404 items/embeddings
def values_added_under_the_users_items(check):
    """Both lookups are three items for each of five users, so the values can be added, and are."""

    def add(a, b):
        if isinstance(a, tf.IndexedSlices):
            return tf.IndexedSlices(tf.add(a.values, b.values), indices=a.indices, dense_shape=a.dense_shape)
        return a + b

    loss, pairs = towers(check)
    return loss, added(pairs, add)

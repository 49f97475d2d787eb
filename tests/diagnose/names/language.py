# ruff: noqa: ANN001, ANN201, B905, ERA001 - training code as people write it
"""A language model, whose embedding is on one machine and whose recurrent layer is on another."""

import keras
import numpy as np
import tensorflow as tf


def sentences():
    tokens = np.array(
        [[3, 1, 4, 1, 5], [2, 6, 5, 3, 0], [5, 7, 0, 0, 0], [2, 7, 1, 0, 0], [1, 4, 4, 2, 1], [6, 2, 0, 0, 0]], "int32"
    )
    targets = np.concatenate([tokens[:, 1:], [[2], [4], [6], [1], [7], [3]]], axis=1)
    return tokens, np.where(targets == 0, 7, targets)


def forward(check, tokens):
    """The logits, with the mask that Keras puts on them. The mask crosses as a tensor of its own."""
    embed, read = check.segments
    made = embed(tokens, training=True)
    sent = dict(zip(embed.output_names, made if isinstance(made, list) else [made]))
    sent[embed.input_names[0]] = tokens
    return read([sent[name] for name in read.input_names], training=True)


def right(check):
    with tf.GradientTape() as tape:
        logits = forward(check, check.x)
        loss = check.loss(check.y, logits)
    return loss, tape.gradient(loss, check.variables)


def right_by_hand(check):
    """The mean over the words that are there."""
    mask = tf.cast(tf.not_equal(check.x, 0), tf.float32)
    with tf.GradientTape() as tape:
        logits = forward(check, check.x)
        per_word = keras.losses.sparse_categorical_crossentropy(check.y, logits, from_logits=True)
        loss = tf.reduce_sum(per_word * mask) / tf.reduce_sum(mask)
    return loss, tape.gradient(loss, check.variables)


# expect: GC507
def mean_over_padding_too(check):
    """The loss of each word is averaged over all positions."""
    with tf.GradientTape() as tape:
        logits = forward(check, check.x)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(check.y, logits, from_logits=True))
    return loss, tape.gradient(loss, check.variables)


# expect: GC507
def logits_through_a_queue(check):
    """The logits come out of `tf.identity`, and Keras's mask is an attribute that stays behind."""
    with tf.GradientTape() as tape:
        logits = forward(check, check.x)
        loss = check.loss(check.y, tf.identity(logits, name="logits"))
    return loss, tape.gradient(loss, check.variables)


# expect: GC109
def shifted_once_more(check):
    """The targets are the next words already, and the step shifts them again, round the end."""
    with tf.GradientTape() as tape:
        logits = forward(check, check.x)
        loss = check.loss(tf.roll(check.y, shift=-1, axis=1), logits)
    return loss, tape.gradient(loss, check.variables)


def shares(check, parts):
    """Micro-batches, and what each counts: by its words."""
    words = tf.reduce_sum(tf.cast(check.x != 0, tf.float32))
    for x, y in zip(tf.split(check.x, parts), tf.split(check.y, parts)):
        yield x, y, tf.reduce_sum(tf.cast(x != 0, tf.float32)) / words


def right_in_micro_batches(check):
    table, dense = [], None
    for x, y, share in shares(check, 2):
        with tf.GradientTape() as tape:
            logits = forward(check, x)
            loss = check.loss(y, logits) * share
        of_table, *found = tape.gradient(loss, check.variables)
        table.append(of_table)
        dense = found if dense is None else [a + b for a, b in zip(dense, found)]
    values, indices = tf.concat([g.values for g in table], 0), tf.concat([g.indices for g in table], 0)
    return [tf.IndexedSlices(values, indices, table[0].dense_shape), *dense]


# expect: GC404 words/embeddings
def values_added_as_if_dense(check):
    """`g.values` are added like any gradient; the indices are those of the first micro-batch."""
    total = None
    for x, y, share in shares(check, 2):
        with tf.GradientTape() as tape:
            logits = forward(check, x)
            loss = check.loss(y, logits) * share
        found = tape.gradient(loss, check.variables)
        if total is None:
            total = found
            continue
        table = tf.IndexedSlices(total[0].values + found[0].values, total[0].indices, total[0].dense_shape)
        total = [table, *(a + b for a, b in zip(total[1:], found[1:]))]
    return total


# expect: GC404 words/embeddings
def indices_of_the_last(check):
    """Three micro-batches; `indices` is what the loop left behind."""
    values, dense = [], []
    for x, y, share in shares(check, 3):
        with tf.GradientTape() as tape:
            logits = forward(check, x)
            loss = share * check.loss(y, logits)
        grads = tape.gradient(loss, check.variables)
        indices = grads[0].indices
        values.append(grads[0].values)
        dense.append(grads[1:])
    table = np.zeros(check.variables[0].shape, "float32")
    np.add.at(table, indices.numpy(), tf.add_n(values).numpy())
    return [table, *(tf.add_n(column) for column in zip(*dense))]

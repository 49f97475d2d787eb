# ruff: noqa: ANN001, ANN201, B905, ERA001 - training code as people write it
"""GPipe by hand: every forward pass first, then every backward pass, gradients summed over the micro-batches."""

import tensorflow as tf

M = 3


def forward_pass(stages, micro_batches):
    """Activations and tapes by [micro-batch][stage]."""
    activations, tapes = [], []
    for x in micro_batches:
        acts, row = [x], []
        for stage in stages:
            with tf.GradientTape() as tape:
                tape.watch(acts[-1])
                acts.append(stage(acts[-1], training=True))
            row.append(tape)
        activations.append(acts)
        tapes.append(row)
    return activations, tapes


def loss_gradient(check, y, output):
    with tf.GradientTape() as tape:
        tape.watch(output)
        loss = check.loss(y, output) / M
    return loss, tape.gradient(loss, output)


def stage_backward(stage, tape, acts, s, dy):
    """What goes to the stage before, and the gradients of this one."""
    dx, *grads = tape.gradient(acts[s + 1], [acts[s], *stage.trainable_variables], output_gradients=dy)
    return dx, grads


def add(grads, stage, found):
    for v, g in zip(stage.trainable_variables, found):
        grads[v.path] = grads[v.path] + g if v.path in grads else g


def right(check):
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    total, grads = 0.0, {}
    for m, y in enumerate(tf.split(check.y, M)):
        loss, dy = loss_gradient(check, y, acts[m][-1])
        total += loss
        for s in (2, 1, 0):
            dy, found = stage_backward(check.segments[s], tapes[m][s], acts[m], s, dy)
            add(grads, check.segments[s], found)
    return total, grads


# expect: GC110 boundary 0 → 1
def stack_for_a_queue(check):
    """Stage 0 takes the cotangents off the end of the list that stage 1 appended them to."""
    first, second, third = check.segments
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    total, grads, sent = 0.0, {}, []
    for m, y in enumerate(tf.split(check.y, M)):
        loss, dy = loss_gradient(check, y, acts[m][-1])
        total += loss
        dy, found = stage_backward(third, tapes[m][2], acts[m], 2, dy)
        add(grads, third, found)
        dy, found = stage_backward(second, tapes[m][1], acts[m], 1, dy)
        add(grads, second, found)
        sent.append(dy)
    for m in range(M):
        _, found = stage_backward(first, tapes[m][0], acts[m], 0, sent.pop())
        add(grads, first, found)
    return total, grads


# expect: GC110 boundary 1 → 2
def one_slot_behind(check):
    """The last stage's inbox is a ring, and stage 1 reads the slot before its own."""
    first, second, third = check.segments
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    ring = [None] * M
    grads, total = {}, tf.constant(0.0)
    for m, y in enumerate(tf.split(check.y, M)):
        loss, dy = loss_gradient(check, y, acts[m][-1])
        total = total + loss
        ring[m], found = stage_backward(third, tapes[m][2], acts[m], 2, dy)
        add(grads, third, found)
    for m in range(M):
        dx, found = stage_backward(second, tapes[m][1], acts[m], 1, ring[(m - 1) % M])
        add(grads, second, found)
        _, found = stage_backward(first, tapes[m][0], acts[m], 0, dx)
        add(grads, first, found)
    return total, grads


# expect: GC110 boundary 1 → 2
def what_the_loop_left_behind(check):
    """`dy` of the first loop is used in the second: that of the last micro-batch, for every one of them."""
    first, second, third = check.segments
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    grads, total = {}, 0.0
    for m, y in enumerate(tf.split(check.y, M)):
        loss, dy = loss_gradient(check, y, acts[m][-1])
        total += loss
        dy, found = stage_backward(third, tapes[m][2], acts[m], 2, dy)
        add(grads, third, found)
    for m in range(M):
        dx, found = stage_backward(second, tapes[m][1], acts[m], 1, dy)
        add(grads, second, found)
        _, found = stage_backward(first, tapes[m][0], acts[m], 0, dx)
        add(grads, first, found)
    return total, grads


# expect: GC110 boundary 0 → 1
def constant_index(check):
    """`sent[0]`, where `sent[m]` was meant."""
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    losses, seeds = zip(*(loss_gradient(check, y, acts[m][-1]) for m, y in enumerate(tf.split(check.y, M))))
    grads, sent = {}, list(seeds)
    for s in (2, 1, 0):
        stage, received = check.segments[s], sent
        sent = []
        for m in range(M):
            dx, found = stage_backward(stage, tapes[m][s], acts[m], s, received[0] if s == 0 else received[m])
            sent.append(dx)
            add(grads, stage, found)
    return tf.add_n(losses), grads


# expect: GC204
def added_if_there_is_none_yet(check):
    """`setdefault` keeps what the first micro-batch put there."""
    grads, losses = {}, []
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    for m, y in enumerate(tf.split(check.y, M)):
        with tf.GradientTape() as tape:
            tape.watch(acts[m][-1])
            loss = check.loss(y, acts[m][-1])
        losses.append(loss)
        dy = tape.gradient(loss, acts[m][-1])
        for s in (2, 1, 0):
            dy, found = stage_backward(check.segments[s], tapes[m][s], acts[m], s, dy)
            for v, g in zip(check.segments[s].trainable_variables, found):
                grads.setdefault(v.path, g)
    return tf.reduce_mean(losses), grads


# expect: GC204
def left_the_loop_too_early(check):
    """`return` is indented once too often. Each loss is divided by the number of micro-batches already."""
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    total, grads = 0.0, {}
    for m, y in enumerate(tf.split(check.y, M)):
        loss, dy = loss_gradient(check, y, acts[m][-1])
        total += loss
        for s in (2, 1, 0):
            dy, found = stage_backward(check.segments[s], tapes[m][s], acts[m], s, dy)
            add(grads, check.segments[s], found)
        return grads
    return total, grads


# expect: GC900 + GC110 + GC201
def stack_for_a_queue_and_summed(check):
    """The order of the list, and the loss of each micro-batch not divided by their number."""
    first, second, third = check.segments
    acts, tapes = forward_pass(check.segments, tf.split(check.x, M))
    grads, sent = {}, []
    for m, y in enumerate(tf.split(check.y, M)):
        _, dy = loss_gradient(check, y, acts[m][-1])
        dy, found = stage_backward(third, tapes[m][2], acts[m], 2, dy * M)
        add(grads, third, found)
        dy, found = stage_backward(second, tapes[m][1], acts[m], 1, dy)
        add(grads, second, found)
        sent.append(dy)
    for m in range(M):
        _, found = stage_backward(first, tapes[m][0], acts[m], 0, sent.pop())
        add(grads, first, found)
    return grads

# ruff: noqa: ANN001, ANN201, ANN202, B905, ERA001 - training code as people write it
"""Training steps over micro-batches, with one optimizer for the three stages."""

import tensorflow as tf

NUM_MICRO = 3


def backward(check, x, y, scale=1.0):
    """Loss, and the gradients by stage."""
    stages, tapes, acts = check.segments, [], [x]
    for stage in stages:
        with tf.GradientTape() as tape:
            tape.watch(acts[-1])
            acts.append(stage(acts[-1], training=True))
        tapes.append(tape)
    with tf.GradientTape() as tape:
        tape.watch(acts[-1])
        loss = check.loss(y, acts[-1]) * scale
    grad, grads = tape.gradient(loss, acts[-1]), []
    for i in reversed(range(len(stages))):
        grad, *own = tapes[i].gradient(acts[i + 1], [acts[i], *stages[i].trainable_variables], output_gradients=grad)
        grads.insert(0, own)
    return loss, grads


def micro(check):
    return zip(tf.split(check.x, NUM_MICRO), tf.split(check.y, NUM_MICRO))


def plus(a, b):
    return b if a is None else [x + y for x, y in zip(a, b)]


def right(check):
    """Accumulate, then apply."""
    total, summed = 0.0, None
    for x, y in micro(check):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total, summed = total + loss, plus(summed, [g for own in grads for g in own])
    check.optimizer.apply_gradients(zip(summed, check.variables))
    return total


# expect: GC310
def applied_in_the_loop(check):
    """`apply_gradients` is indented once too often, so there are three small steps."""
    total = 0.0
    for x, y in micro(check):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total += loss
        check.optimizer.apply_gradients(zip([g for own in grads for g in own], check.variables))
    return total


# expect: GC310
def micro_batches_for_batches(check):
    """Each micro-batch is a batch of its own, whose mean loss is not weighed."""
    losses = []
    for x, y in micro(check):
        loss, (lower, upper, head) = backward(check, x, y)
        check.optimizer.apply(lower + upper + head, list(check.variables))
        losses.append(loss)
    return tf.reduce_mean(losses)


# expect: GC310
def running_sum_applied_each_time(check):
    """The sum so far is applied after each micro-batch, since nobody asks whether the last one has come."""
    total, summed = 0.0, None
    for i, (x, y) in enumerate(micro(check)):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total, summed = total + loss, plus(summed, [g for own in grads for g in own])
        if i < NUM_MICRO:
            check.optimizer.apply_gradients(zip(summed, check.variables))
    return total


# expect: GC204
def modulo_hits_the_first(check):
    """`i % NUM_MICRO == 0` is true for the first micro-batch, not for the last: the others are never applied."""
    total, summed = 0.0, None
    for i, (x, y) in enumerate(micro(check)):
        loss, grads = backward(check, x, y)
        total, summed = total + loss / NUM_MICRO, plus(summed, [g for own in grads for g in own])
        if i % NUM_MICRO == 0:
            check.optimizer.apply_gradients(zip(summed, check.variables))
            summed = None
    return total


# expect: GC310 segment_2
def head_does_not_wait(check):
    """The last stage has its gradient first, and updates at once; the others accumulate."""
    lower, upper, head = check.segments
    total, summed = 0.0, None
    for x, y in micro(check):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total += loss
        check.optimizer.apply_gradients(zip(grads[2], head.trainable_variables))
        summed = plus(summed, grads[0] + grads[1])
    check.optimizer.apply_gradients(zip(summed, [*lower.trainable_variables, *upper.trainable_variables]))
    return total


# expect: GC310 segment_0
def embedding_worker_is_eager(check):
    """Stage 0's worker has an update in its own loop. One call of all stages' optimizer counts as one step."""
    lower, upper, head = check.segments
    step, total, summed = tf.identity(check.optimizer.iterations), 0.0, None
    waiting = []
    for x, y in micro(check):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total += loss
        waiting.append(grads[0])
        summed = plus(summed, grads[1] + grads[2])
    for grads in waiting:
        check.optimizer.apply_gradients(zip(grads, lower.trainable_variables))
        check.optimizer.iterations.assign(step)
    check.optimizer.apply_gradients(zip(summed, [*upper.trainable_variables, *head.trainable_variables]))
    return total


# expect: GC310 segment_1
def one_stage_without_accumulation(check):
    """A flag for gradient accumulation that is missing from the second stage's settings."""
    accumulate = [True, False, True]
    buffers = [None] * 3
    total = 0.0
    for x, y in micro(check):
        loss, grads = backward(check, x, y, 1 / NUM_MICRO)
        total += loss
        for s, stage in enumerate(check.segments):
            if accumulate[s]:
                buffers[s] = plus(buffers[s], grads[s])
            else:
                check.optimizer.apply_gradients(zip(grads[s], stage.trainable_variables))
    pairs = [pair for s in (0, 2) for pair in zip(buffers[s], check.segments[s].trainable_variables)]
    check.optimizer.apply_gradients(pairs)
    return total


def one_step(optimizer):
    """The optimizer is called for each stage, which is one step all the same."""
    optimizer.iterations.assign_sub(1)


def right_from_the_last_to_the_first(check):
    """Every stage's gradient is made before any stage is updated."""
    loss, grads = backward(check, check.x, check.y)
    for s in (2, 1, 0):
        check.optimizer.apply_gradients(zip(grads[s], check.segments[s].trainable_variables))
        if s:
            one_step(check.optimizer)
    return loss


# expect: GC305
def head_trained_first(check):
    """The server takes its step, and answers with the gradient that its new weights give."""
    lower, upper, head = check.segments
    with tf.GradientTape(persistent=True) as tape_0:
        a = lower(check.x, training=True)
        b = upper(a, training=True)
    received = tf.Variable(b)
    with tf.GradientTape() as server_tape:
        loss = check.loss(check.y, head(received, training=True))
    check.optimizer.apply_gradients(zip(server_tape.gradient(loss, head.trainable_variables), head.trainable_variables))
    one_step(check.optimizer)
    with tf.GradientTape() as reply_tape:
        again = check.loss(check.y, head(received, training=True))
    reply = reply_tape.gradient(again, received)
    variables = [*lower.trainable_variables, *upper.trainable_variables]
    check.optimizer.apply_gradients(zip(tape_0.gradient(b, variables, output_gradients=reply), variables))
    return loss


# expect: GC305
def each_stage_updates_then_answers(check):
    """`stage.step(dy)` updates the stage, and runs it once more for what the one before needs."""
    acts = [check.x]
    for stage in check.segments:
        acts.append(stage(acts[-1], training=True))
    loss, dy = None, None
    for s in (2, 1, 0):
        stage = check.segments[s]

        def output(stage=stage, s=s):
            out = stage(acts[s], training=True)
            return check.loss(check.y, out) if s == 2 else out

        with tf.GradientTape() as tape:
            out = output()
        loss = out if s == 2 else loss
        grads = tape.gradient(out, stage.trainable_variables, output_gradients=dy)
        check.optimizer.apply_gradients(zip(grads, stage.trainable_variables))
        if s:
            one_step(check.optimizer)
            with tf.GradientTape() as tape:
                tape.watch(acts[s])
                out = output()
            dy = tape.gradient(out, acts[s], output_gradients=dy)
    return loss

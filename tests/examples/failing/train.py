"""A training step that is split by hand, as people write it, with the mistakes that people make.

Right without a fault: one tape per segment, and the cotangent of each boundary tensor goes to the segment that made it.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def gradients(check: Any, fault: str | None = None) -> tuple[Any, dict[str, Any]]:
    """The loss, and the gradients by path."""
    values = dict(check.x) if isinstance(check.x, dict) else {check.segments[0].input_names[0]: check.x}
    passes = []
    for segment in check.segments:
        taken = [values[name] for name in segment.input_names]
        if fault == "mask lost" and passes:
            taken = [tf.ones_like(tensor) if tensor.dtype == tf.bool else tensor for tensor in taken]
        if fault == "half precision" and passes:
            taken = [tf.cast(tf.cast(tensor, tf.float16), tf.float32) for tensor in taken]
        training = check.training and not (fault == "training flag lost" and passes)
        with tf.GradientTape() as tape:
            tape.watch([tensor for tensor in taken if tensor.dtype.is_floating])
            returned = segment(taken, training=training)
            returned = returned if isinstance(returned, list) else [returned]
            penalties = [] if fault == "penalties dropped" else segment.losses
            penalty = tf.add_n([tf.zeros(()), *penalties])
        values.update(zip(segment.output_names, returned, strict=True))
        passes.append((segment, tape, taken, returned, penalty))

    last = check.segments[-1].output_names[0]
    with tf.GradientTape() as tape:
        tape.watch(values[last])
        loss = check.loss(check.y, values[last])
    cotangents = {last: tape.gradient(loss, values[last])}
    found: dict[str, Any] = {}
    for segment, tape, taken, returned, penalty in reversed(passes):
        loss += penalty
        seeds = [cotangents.get(name, tf.zeros_like(values[name])) for name in segment.output_names]
        if fault == "ones handed off" and segment is not check.segments[-1]:
            seeds = [tf.ones_like(tensor) for tensor in returned]
        if fault == "swapped" and len(seeds) > 1:
            seeds = seeds[::-1]
        sources = [*taken, *(variable.value for variable in segment.trainable_variables)]
        seeds = [*seeds, tf.ones_like(penalty)]
        answers = tape.gradient([*returned, penalty], sources, output_gradients=seeds)
        handed_back = answers[:1] if fault == "skip dropped" else answers[: len(taken)]
        for name, answer in zip(segment.input_names, handed_back, strict=False):
            cotangents[name] = added(cotangents.get(name), answer)
        for variable, answer in zip(segment.trainable_variables, answers[len(taken) :], strict=True):
            before = None if fault == "one use only" else found.get(variable.path)
            found[variable.path] = added(before, answer)
    return loss, found


def added(first: Any, second: Any) -> Any:
    """The sum of two gradients, either of which may be None or sparse."""
    if first is None or second is None:
        return second if first is None else first
    return tf.convert_to_tensor(first) + tf.convert_to_tensor(second)

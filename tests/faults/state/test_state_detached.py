"""GC304: truncated backpropagation through time, beside the same with `tf.stop_gradient`."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

CHUNKS = """
    model:
      input: {shape: [6, 2]}
      layers:
        - LSTM: {units: 3, return_sequences: true, name: lstm}
        - Dense: {units: 2, name: out}
    split: {time: {chunks: 3}}
    loss: MeanSquaredError
    data: {batch_size: 2}
"""


def truncated(study: Any, cuts: set[int]) -> dict[str, Any]:
    """One tape, with the state's gradient stopped after the chunks in `cuts`."""
    model, (x,), (y,) = study.problem.model, study.problem.batch.x, study.problem.batch.y
    cell, out = model.get_layer("lstm").cell, model.get_layer("out")
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        states, outputs = [tf.zeros((2, 3)), tf.zeros((2, 3))], []
        for step in range(6):
            if step % 2 == 0 and step // 2 - 1 in cuts:
                states = [tf.stop_gradient(state) for state in states]
            output, states = cell(x[:, step], states)
            outputs.append(output)
        loss = tf.reduce_mean((out(tf.stack(outputs, 1)) - y) ** 2)
    gradients = tape.gradient(loss, [v.value for v in variables])
    return {v.path: gradient for v, gradient in zip(variables, gradients, strict=True)}


def test_by_hand_and_uncut_it_is_right(study: Any, same: Any) -> None:
    chunks = study(CHUNKS)
    same(chunks.weights(), truncated(chunks, set()))


@pytest.mark.parametrize(
    ("place", "cuts", "segment"), [("chunk 1 → 2", {1}, 1), ("chunk 0 → 1", {0}, 0), ("every chunk", {0, 1}, None)]
)
def test_it_is_the_truncated_gradient(study: Any, same: Any, place: str, cuts: set[int], segment: int | None) -> None:
    chunks = study(CHUNKS)
    injection = chunks.one("GC304", place=place)
    same(chunks.weights(injection), truncated(chunks, cuts))
    assert (injection.place.segment, injection.place.layer) == (segment, "lstm")
    assert {path.partition("/")[0] for path in chunks.wrong_weights(injection)} == {"lstm"}


def test_only_time_splits_have_chunks(study: Any) -> None:
    layers = study(CHUNKS.replace("time: {chunks: 3}", "after: [lstm]"))
    assert not layers.injections("GC304")

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


def truncated(study: Any, cuts: set[int], which: tuple[int, ...] = (0, 1)) -> dict[str, Any]:
    """One tape, with the gradient of the states `which` stopped after the chunks in `cuts`."""
    model, (x,), (y,) = study.problem.model, study.problem.batch.x, study.problem.batch.y
    cell, out = model.get_layer("lstm").cell, model.get_layer("out")
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        states, outputs = [tf.zeros((2, 3)), tf.zeros((2, 3))], []
        for step in range(6):
            if step % 2 == 0 and step // 2 - 1 in cuts:
                states = [tf.stop_gradient(state) if i in which else state for i, state in enumerate(states)]
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
    injection = chunks.one("GC304", place=place, effect="cotangent of its initial state")
    same(chunks.weights(injection), truncated(chunks, cuts))
    assert (injection.place.segment, injection.place.layer) == (segment, "lstm")
    assert {path.partition("/")[0] for path in chunks.wrong_weights(injection)} == {"lstm"}


def test_only_time_splits_have_chunks(study: Any) -> None:
    layers = study(CHUNKS.replace("time: {chunks: 3}", "after: [lstm]"))
    assert not layers.injections("GC304")


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(("place", "cuts"), [("chunk 1 → 2", {1}), ("chunk 0 → 1", {0}), ("every chunk", {0, 1})])
def test_one_of_two_states(study: Any, same: Any, which: int, place: str, cuts: set[int]) -> None:
    chunks = study(CHUNKS)
    injection = chunks.one("GC304", place=place, effect=f"cotangent of lstm/state_{which} of")
    same(chunks.weights(injection), truncated(chunks, cuts, (which,)))
    assert chunks.wrong_weights(injection)


def test_the_states_of_each_layer_of_a_stack(study: Any) -> None:
    """One state is no part of itself: a GRU has the whole, and what a stack has beside it."""
    stack = study(
        CHUNKS.replace(
            "        - Dense", "        - GRU: {units: 2, return_sequences: true, name: gru}\n        - Dense"
        )
    )
    found = [i.effect for i in stack.injections("GC304", place="chunk 0 → 1")]
    parts = [
        "its",
        "lstm/state_0 of its",
        "lstm/state_1 of its",
        "gru/state_0 of its",
        "lstm/state_0 and lstm/state_1 of its",
    ]
    assert found == [f"chunk 1 handed no cotangent of {part} initial state back" for part in parts]
    assert all(stack.wrong_weights(i) for i in stack.injections("GC304"))
    alone = study(CHUNKS.replace("LSTM", "GRU").replace("lstm", "gru"))
    assert len(alone.injections("GC304")) == 3

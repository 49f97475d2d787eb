"""GC107 to GC109: a mask, a training flag or targets that do not go along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

MASKED = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 4, output_dim: 3, mask_zero: true, name: table}
        - GRU: {units: 3, return_sequences: true, name: gru}
        - Dense: {units: 2, name: out}
    split: {every: layer}
    loss: MeanSquaredError
    data: {factory: "./data.py:batch", batch_size: 4}
"""
PADDED = {
    "data.py": """
        import numpy as np

        def batch():
            x = np.array([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [1, 1, 2, 3, 0], [2, 3, 1, 1, 2]], np.int32)
            return x, np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
    """
}
MODES = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - BatchNormalization: {momentum: 0.5, name: norm}
        - Dense: {units: 6, activation: tanh, name: second}
        - Dropout: {rate: 0.5, name: dropout}
        - Dense: {units: 2, name: out}
    split: {after: [norm, second, dropout]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""


def test_a_lost_mask_changes_the_forward_pass(study: Any) -> None:
    masked = study(MASKED, PADDED)
    recurrent = masked.one("GC107", effect="segment_2 got")  # the table and the mask are made in two
    assert (recurrent.place.text, recurrent.place.segment) == ("boundary 0 → 2", 0)
    assert {"output:out", "loss:loss", "weight:table/embeddings"} <= masked.wrong(recurrent).keys()
    last = masked.one("GC107", effect="segment_3 got")
    assert "loss:loss" in masked.wrong(last)
    assert "output:out" not in masked.wrong(last)
    assert masked.one("GC107", place="every boundary").place.everywhere


def test_a_loss_without_the_mask_counts_padding(study: Any) -> None:
    masked = study(MASKED, PADDED)
    injection = masked.one("GC107", place="the model's outputs")
    x, y = masked.problem.batch.x[0], masked.problem.batch.y[0]
    with tf.GradientTape() as tape:
        output = masked.problem.model(x, training=True)
        loss = tf.reduce_mean((tf.identity(output) - y) ** 2)
    kernel = next(w.variable for w in masked.problem.weights if w.path == "out/kernel")
    np.testing.assert_allclose(masked.weights(injection)["out/kernel"], tape.gradient(loss, kernel.value), rtol=1e-5)
    assert not [key for key in masked.wrong(injection) if key.startswith("output")]


def test_a_model_without_masks_has_none_to_lose(study: Any) -> None:
    assert not study(MODES).injections("GC107")


def test_the_other_mode(study: Any) -> None:
    modes = study(MODES)
    assert [i.place.text for i in modes.injections("GC108")] == ["segment 2", "segment 0", "every segment"]
    norm = modes.wrong(modes.one("GC108", place="segment 0"))
    assert {"state:norm/moving_mean", "output:out", "weight:out/kernel"} <= norm.keys()
    dropout = modes.wrong(modes.one("GC108", place="segment 2"))
    assert "state:norm/moving_mean" not in dropout
    assert any(key.startswith("state:") for key in dropout)  # the seed is not advanced


def test_a_layer_where_nobody_cut_has_its_own_name(study: Any) -> None:
    found = study(MODES.replace("{after: [norm, second, dropout]}", "{every: layer}")).injections("GC108")
    assert [i.place.text for i in found] == ["layer dropout", "layer norm", "every segment"]
    assert [i.effect for i in found][1:] == [
        f"{who} ran with training=False" for who in ("norm", "each of norm, dropout")
    ]


def test_in_inference_the_other_mode_is_training(study: Any) -> None:
    quiet = study(MODES.replace("loss:", "training: false\n    loss:"))
    injection = quiet.one("GC108", place="segment 2")
    assert injection.effect == "segment_2 ran with training=True"
    assert "output:out" in quiet.wrong(injection)


@pytest.mark.parametrize(("by", "shift"), [(1, 1), (5, -1)])
@pytest.mark.parametrize("slices", ["", "microbatches: 4\n    "])
def test_rolled_targets(study: Any, same: Any, by: int, shift: int, slices: str) -> None:
    plain = study(f"""
    {slices}model:
      input: {{shape: [4]}}
      layers: [Dense: {{units: 5, activation: tanh, name: first}}, Dense: {{units: 2, name: out}}]
    split: {{after: [first]}}
    loss: MeanSquaredError
    data: {{batch_size: 6}}
    """)
    injection = plain.one("GC109", effect=f"example {by} ")
    x, y = plain.problem.batch.x[0], plain.problem.batch.y[0]
    variables = plain.problem.model.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((plain.problem.model(x) - tf.roll(y, shift, 0)) ** 2)
    gradients = tape.gradient(loss, [v.value for v in variables])
    same(plain.weights(injection), {v.path: g for v, g in zip(variables, gradients, strict=True)})
    assert injection.place.segment == 1


@pytest.mark.parametrize(("by", "batch", "times"), [(2, 6, 2), (3, 6, 3), (4, 6, -2), (4, 9, 4), (5, 9, -4)])
def test_targets_rolled_by_several(study: Any, same: Any, by: int, batch: int, times: int) -> None:
    plain = study(f"""
    model:
      input: {{shape: [4]}}
      layers: [Dense: {{units: 5, activation: tanh, name: first}}, Dense: {{units: 2, name: out}}]
    split: {{after: [first]}}
    loss: MeanSquaredError
    data: {{batch_size: {batch}}}
    """)
    rolled(plain, same, plain.one("GC109", effect=f"example {by} "), times, 0)
    assert len(plain.injections("GC109")) == (5 if batch == 6 else 8)


def rolled(plain: Any, same: Any, injection: Any, times: int, axis: int) -> None:
    """An injection gives the gradients of one tape over targets rolled along `axis`."""
    x, y = plain.problem.batch.x[0], plain.problem.batch.y[0]
    variables = plain.problem.model.trainable_variables
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((plain.problem.model(x) - tf.roll(y, times, axis)) ** 2)
    gradients = tape.gradient(loss, [v.value for v in variables])
    same(plain.weights(injection), {v.path: g for v, g in zip(variables, gradients, strict=True)})


SEQUENCE = """
    {slices}model:
      input: {{shape: [5, 2]}}
      layers:
        - GRU: {{units: 3, return_sequences: {all}, name: gru}}
        - Dense: {{units: 2, name: out}}
    split: {{after: [gru]}}
    loss: MeanSquaredError
    data: {{batch_size: 4}}
"""


@pytest.mark.parametrize(("said", "times"), [("before it", 1), ("after it", -1)])
@pytest.mark.parametrize("slices", ["", "microbatches: 2\n    "])
def test_targets_rolled_along_time(study: Any, same: Any, said: str, times: int, slices: str) -> None:
    sequence = study(SEQUENCE.format(slices=slices, all="true"))
    injection = sequence.one("GC109", effect=f"the target of the one {said}")
    rolled(sequence, same, injection, times, 1)
    assert injection.place.segment == 1


def test_a_single_step_has_no_time(study: Any) -> None:
    assert not study(SEQUENCE.format(slices="", all="false")).injections("GC109", effect="time")

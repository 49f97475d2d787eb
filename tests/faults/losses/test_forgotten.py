"""GC506 and GC507: losses without sample weights or masks, beside one tape over the whole model."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from gradcheck.numerics import to_array

#: Two outputs with weights of their own, in slices of 3, 3 and 1.
WEIGHTED = """
    {slices}model:
      input: {{shape: [3]}}
      layers:
        - Dense: {{units: 4, activation: tanh, name: trunk}}
        - Dense: {{units: 2, name: early, inputs: [trunk]}}
        - Dense: {{units: 2, name: late, inputs: [trunk]}}
      outputs: [early, late]
    split: {{after: [trunk]}}
    loss: {{early: {{MeanSquaredError: {{reduction: {early}}}}}, late: {{MeanSquaredError: {{reduction: {late}}}}}}}
    data: {{factory: "./data.py:batch", batch_size: 7}}
"""
DATA = {
    "data.py": """
        import numpy as np

        def batch():
            drawn = np.random.default_rng(0)
            x, early, late = (drawn.normal(size=(7, n)).astype(np.float32) for n in (3, 2, 2))
            w = drawn.uniform(0.2, 2, size=(2, 7)).astype(np.float32)
            return x, {"early": early, "late": late}, {"early": w[0], "late": w[1]}
    """
}


def of_whole(study: Any, loss: Any) -> dict[str, Any]:
    """The gradients of one tape over the whole model; `loss` takes its outputs."""
    problem = study.problem
    variables = problem.model.trainable_variables
    with tf.GradientTape() as tape:
        value = loss(*tf.nest.flatten(problem.model(problem.batch.x[0], training=True)))
    gradients = map(tf.convert_to_tensor, tape.gradient(value, [v.value for v in variables]))
    return {v.path: g for v, g in zip(variables, gradients, strict=True)}


@pytest.mark.parametrize("slices", ["", "microbatches: 3\n    "])
@pytest.mark.parametrize(("name", "forgotten"), [("every output", {0, 1}), ("output early", {0}), ("output late", {1})])
@pytest.mark.parametrize("late", ["sum_over_batch_size", "mean_with_sample_weight", "sum"])
def test_sample_weights_that_are_forgotten(
    study: Any, same: Any, *, slices: str, name: str, forgotten: set[int], late: str
) -> None:
    weighted = study(WEIGHTED.format(slices=slices, early="sum_over_batch_size", late=late), DATA)
    batch = weighted.problem.batch
    losses = [keras.losses.MeanSquaredError(reduction=r) for r in ("sum_over_batch_size", late)]

    def loss(*outputs: Any) -> Any:
        weights = [None if i in forgotten else w for i, w in enumerate(batch.sample_weight)]
        return sum(f(y, o, sample_weight=w) for f, y, o, w in zip(losses, batch.y, outputs, weights, strict=True))

    injection = weighted.one("GC506", effect=name)
    same(weighted.weights(injection), of_whole(weighted, loss))
    assert weighted.wrong_weights(injection)
    assert (injection.place.text, injection.place.segment) == ("the loss", 1)


def test_nothing_is_weighed_or_masked(study: Any) -> None:
    plain = study("""
    model:
      input: {shape: [3]}
      layers: [Dense: {units: 4, name: first}, Dense: {units: 2, name: out}]
    split: {after: [first]}
    loss: MeanSquaredError
    data: {batch_size: 3}
    """)
    assert not plain.injections("GC506")
    assert not plain.injections("GC507")
    ones = {"data.py": DATA["data.py"].replace("drawn.uniform(0.2, 2, size=(2, 7))", "np.ones((2, 7))")}
    config = WEIGHTED.format(slices="", early="sum_over_batch_size", late="sum_over_batch_size")
    assert not study(f"{config}    # with ones", ones).injections("GC506")


MASKED = """
    {slices}model:
      input: {{shape: [5], dtype: int32}}
      layers:
        - Embedding: {{input_dim: 4, output_dim: 3, mask_zero: true, name: table}}
        - Dense: {{units: 2, name: out}}
        - Dense: {{units: 2, name: other, inputs: [out]}}
      outputs: [out, other]
    split: {{after: [table, out]}}
    loss: {{out: MeanSquaredError, other: {loss}}}
    data: {{factory: "./data.py:batch", batch_size: 4}}
"""
PADDED = {
    "data.py": """
        import numpy as np

        def batch():
            x = np.array([[1, 2, 0, 0, 0], [3, 0, 0, 0, 0], [1, 1, 2, 3, 0], [2, 3, 1, 1, 2]], np.int32)
            drawn = np.random.default_rng(0)
            return x, {name: drawn.normal(size=(4, 5, 2)).astype(np.float32) for name in ("out", "other")}
    """
}


@pytest.mark.parametrize("slices", ["", "microbatches: 2\n    "])
@pytest.mark.parametrize(("name", "forgotten"), [("every output", {0, 1}), ("output out", {0}), ("output other", {1})])
@pytest.mark.parametrize("way", ["over all elements", "divided by the number of all elements"])
def test_masks_that_are_forgotten(
    study: Any, same: Any, *, slices: str, name: str, forgotten: set[int], way: str
) -> None:
    """An output that a segment takes keeps its mask there."""
    masked = study(MASKED.format(slices=slices, loss="MeanSquaredError"), PADDED)
    (x,), targets = masked.problem.batch.x, masked.problem.batch.y
    kept = tf.cast(x != 0, tf.float32)

    def loss(*outputs: Any) -> Any:
        total = 0.0
        for i, (y, output) in enumerate(zip(targets, outputs, strict=True)):
            errors = tf.reduce_mean((y - output) ** 2, -1)
            counted = tf.ones_like(kept) if i in forgotten and way == "over all elements" else kept
            number = tf.size(kept, tf.float32) if i in forgotten else tf.reduce_sum(kept)
            total += tf.reduce_sum(errors * counted) / number
        return total

    (injection,) = (i for i in masked.injections("GC507", effect=way) if name in i.effect)
    same({path: to_array(g) for path, g in masked.weights(injection).items()}, of_whole(masked, loss))
    assert not [key for key in masked.wrong(injection) if key.startswith("output")]


def test_a_sum_is_divided_by_nothing_and_a_random_cotangent_has_no_mask(study: Any) -> None:
    summed = study(MASKED.format(slices="", loss="{MeanSquaredError: {reduction: sum}}"), PADDED)
    assert len(summed.injections("GC507", effect="over all elements")) == 3
    assert len(summed.injections("GC507", effect="divided")) == 1
    random = study(MASKED.format(slices="", loss="random_cotangent"), PADDED)
    assert len(random.injections("GC507")) == 2  # of the other output

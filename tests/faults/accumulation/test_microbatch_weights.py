"""GC201 to GC206 and GC301: micro-batches with wrong weights, beside sums of the slices' own gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault, new_sizes

#: Seven examples in slices of 3, 3 and 1, with a weight penalty.
LAYERS = """
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, name: first}
        - Dense: {units: 2, name: out}
    split: {after: [first]}
    loss: MeanSquaredError
    data: {batch_size: 7}
"""
WHOLE = "\n    model:" + LAYERS
SLICED = "\n    microbatches: 3\n    model:" + LAYERS
EVEN = SLICED.replace("batch_size: 7", "batch_size: 6")
COUPLED = WHOLE.replace(
    "        - Dense: {units: 2", "        - BatchNormalization: {name: norm}\n        - Dense: {units: 2"
)

#: By fault, by a part of its effect: what the three slices count for.
WEIGHTS = [
    ("GC201", "summed", [1, 1, 1]),
    ("GC202", "divided", [3 / 21, 3 / 21, 1 / 21]),
    ("GC203", "the weight 1/M", [1 / 3, 1 / 3, 1 / 3]),
    ("GC203", "of a full one", [3 / 7, 3 / 7, 3 / 7]),
    ("GC203", "as if it were full", [1 / 3, 1 / 3, 1 / 9]),
    ("GC204", "only the last micro-batch's gradient was kept, as it is", [0, 0, 1]),
    ("GC204", "only the last micro-batch's gradient was kept, weighed by its share", [0, 0, 1 / 7]),
    ("GC204", "only the last micro-batch's gradient was kept, divided by the number", [0, 0, 1 / 3]),
    ("GC204", "only micro-batch 0's gradient was kept, as it is", [1, 0, 0]),
    ("GC204", "only micro-batch 1's gradient was kept, weighed by its share", [0, 3 / 7, 0]),
    ("GC204", "only micro-batch 0's gradient was kept, divided by the number", [1 / 3, 0, 0]),
    ("GC206", "the last micro-batch was left out, and the others weighed as if it were there", [3 / 7, 3 / 7, 0]),
    ("GC206", "micro-batch 1 was left out", [3 / 7, 0, 1 / 7]),
    ("GC206", "micro-batch 0 was counted twice, and the others once", [6 / 7, 3 / 7, 1 / 7]),
    ("GC206", "micro-batch 2 was counted twice, and all divided", [9 / 28, 9 / 28, 6 / 28]),
    ("GC206", "ended before", [1 / 2, 1 / 2, 0]),
    ("GC206", "the weight 1/M", [1 / 3, 1 / 3, 0]),
]


#: What an effect ends with where the penalty is added once, whatever slices count for.
ONCE = "what layers add to the loss was added once, as it should"


def of_effect(injections: Any, effect: str, *, once: bool = False) -> list[Any]:
    return [i for i in injections if effect in i.effect and i.effect.endswith(ONCE) == once]


def weighed(study: Any, weights: list[float], bounds: list[int], *, once: bool = False) -> dict[str, Any]:
    """The sum of the gradients of each slice's mean and penalty, by one tape; `once`: the penalty weighs 1 in all."""
    model, (x,), (y,) = study.problem.model, study.problem.batch.x, study.problem.batch.y
    variables = [v.value for v in model.trainable_variables]
    total = [np.zeros(v.shape, np.float32) for v in variables]
    for weight, start, stop in zip(weights, bounds, bounds[1:], strict=False):
        with tf.GradientTape() as tape:
            mean = tf.reduce_mean((model(x[start:stop]) - y[start:stop]) ** 2)
            loss = weight * mean + ((stop - start) / len(x) if once else weight) * tf.add_n(model.losses)
        total = [t + g.numpy() for t, g in zip(total, tape.gradient(loss, variables), strict=True)]
    return {v.path: t for v, t in zip(model.trainable_variables, total, strict=True)}


@pytest.mark.parametrize(("code", "effect", "weights"), WEIGHTS)
def test_the_problems_own_micro_batches(study: Any, same: Any, code: str, effect: str, weights: list[float]) -> None:
    sliced = study(SLICED)
    (injection,) = of_effect(sliced.injections(code), effect)
    same(sliced.weights(injection), weighed(sliced, weights, [0, 3, 6, 7]))
    assert injection.slices is None
    assert injection.place.text == "3 micro-batches"


@pytest.mark.parametrize(("code", "effect", "weights"), WEIGHTS)
def test_a_penalty_that_is_added_once(study: Any, same: Any, code: str, effect: str, weights: list[float]) -> None:
    """Where what slices count for sums to 1 it is no way of its own."""
    sliced = study(SLICED)
    found = of_effect(sliced.injections(code), effect, once=True)
    assert len(found) == (abs(sum(weights) - 1) > 1e-6)
    for injection in found:
        same(sliced.weights(injection), weighed(sliced, weights, [0, 3, 6, 7], once=True))


@pytest.mark.parametrize(("code", "effect", "weights"), WEIGHTS)
def test_micro_batches_that_a_candidate_made(
    study: Any, same: Any, code: str, effect: str, weights: list[float]
) -> None:
    whole = study(WHOLE)
    assert not whole.injections(code)
    (fault,) = (fault for fault in FAULTS if fault.code == code)
    assert isinstance(fault, SlicingFault)
    (injection,) = of_effect(fault.injections_over(whole.problem, 3), effect)
    same(whole.weights(injection), weighed(whole, weights, [0, 3, 6, 7]))
    assert injection.slices == 3


def test_equal_slices_hide_what_only_ragged_ones_show(study: Any) -> None:
    even = study(EVEN)
    assert not even.injections("GC203")
    assert len(of_effect(even.injections("GC204"), "")) == 6
    assert len(of_effect(even.injections("GC206"), "the last")) == 2
    assert all(even.wrong(i) for code in ("GC201", "GC202", "GC204", "GC206") for i in even.injections(code))


def test_of_two_micro_batches_the_first_alone_is_the_last_left_out(study: Any) -> None:
    two = study(SLICED.replace("microbatches: 3", "microbatches: 2"))
    assert {i.effect.partition("'")[0] for i in two.injections("GC204")} == {"only the last micro-batch"}
    many = study(SLICED.replace("microbatches: 3", "microbatches: 7"))
    kept = {i.effect.partition("'")[0] for i in many.injections("GC204")}
    assert kept == {"only the last micro-batch", "only micro-batch 0"}


def test_a_mask_makes_equal_slices_count_differently(study: Any) -> None:
    masked = study(
        """
        microbatches: 2
        model:
          input: {shape: [5], dtype: int32}
          layers:
            - Embedding: {input_dim: 3, output_dim: 3, mask_zero: true, name: table}
            - Dense: {units: 2, name: out}
        split: {after: [table]}
        loss: MeanSquaredError
        data: {factory: "./data.py:batch", batch_size: 4}
        """,
        {
            "data.py": """
                import numpy as np

                def batch():
                    x = np.array([[1, 2, 0, 0, 0], [1, 0, 0, 0, 0], [1, 1, 2, 2, 0], [2, 1, 1, 1, 2]], np.int32)
                    return x, np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
            """
        },
    )
    (injection,) = masked.injections("GC203")
    assert [part.scales for part in masked.problem.slices] == [(3 / 12,), (9 / 12,)]
    assert "weight:out/kernel" in masked.wrong(injection)


def test_sums_are_not_averaged(study: Any) -> None:
    sums = study(SLICED.replace("loss: MeanSquaredError", "loss: {MeanSquaredError: {reduction: sum}}"))
    out = sums.weights()["out/kernel"]
    for injection in sums.injections("GC202"):
        np.testing.assert_allclose(sums.weights(injection)["out/kernel"], out / 3, rtol=1e-5)
    for code in ("GC201", "GC203"):
        for injection in sums.injections(code):
            assert sums.wrong_weights(injection) <= {"first/kernel"}  # the penalty alone


@pytest.mark.parametrize(
    ("count", "sizes"), [(2, (4, 3)), (3, (3, 3, 1)), (4, (2, 2, 2, 1)), (5, ()), (6, ()), (7, (1,) * 7), (8, ())]
)
def test_each_slicing_is_tried_once(study: Any, count: int, sizes: tuple[int, ...]) -> None:
    assert new_sizes(study(WHOLE).problem, count) == sizes


def test_the_problems_own_slices_are_not_new(study: Any) -> None:
    assert new_sizes(study(SLICED).problem, 3) == ()
    assert new_sizes(study(SLICED).problem, 2) == (4, 3)


def test_a_fixed_batch_cannot_be_sliced(study: Any) -> None:
    fixed = study(
        """
        model: {factory: "./fixed.py:build"}
        split: {after: [first]}
        loss: MeanSquaredError
        data: {batch_size: 4}
        """,
        {
            "fixed.py": """
                import keras

                def build():
                    x = keras.Input(batch_shape=(4, 3))
                    return keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(3, name="first")(x)))
            """
        },
    )
    assert new_sizes(fixed.problem, 2) == ()


def test_statistics_of_micro_batches_show_only_where_the_batch_is_coupled(study: Any) -> None:
    (fault,) = (fault for fault in FAULTS if fault.code == "GC301")
    assert isinstance(fault, SlicingFault)
    whole, coupled = study(WHOLE), study(COUPLED)
    (plain,) = fault.injections_over(whole.problem, 3)
    assert whole.wrong(plain) == {}
    (norm,) = fault.injections_over(coupled.problem, 3)
    assert {"state:norm/moving_mean", "weight:out/kernel", "weight:first/kernel"} <= coupled.wrong(norm).keys()
    assert not coupled.injections("GC301")


def test_the_whole_batch_in_place_of_micro_batches(study: Any) -> None:
    coupled = study("\n    microbatches: 3" + COUPLED)
    assert "weight:first/kernel" in coupled.wrong(coupled.one("GC301"))
    assert study(SLICED).wrong(study(SLICED).one("GC301")) == {}

"""Two faults in one split: what each changes is changed, in the tensors of both by both."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.faults.accumulation.microbatch_weights import Summed
from gradcheck.faults.composition import both
from gradcheck.faults.losses.factors import LossScaleLeft

SKIP = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, name: stem}
        - Dense: {units: 4, activation: tanh, name: body}
        - Add: {name: total, inputs: [body, stem]}
        - Dense: {units: 2, name: out}
    split: {after: [stem, body]}
    loss: MeanSquaredError
    data: {batch_size: 4}
"""


@pytest.fixture
def skip(study: Any) -> Any:
    return study(SKIP)


def test_changes_of_a_value_follow_each_other(skip: Any) -> None:
    dropped = skip.one("GC105", effect="segment_2 handed no cotangent of stem")
    halved = skip.one("GC112", place="boundary 1", effect="multiplied by 0.5")
    alone, together = skip.weights(dropped), skip.weights(both(dropped, halved))
    assert both(dropped, halved).code == "GC105 and GC112"
    np.testing.assert_array_equal(together["out/kernel"], skip.weights()["out/kernel"])
    np.testing.assert_allclose(together["body/kernel"], 0.5 * alone["body/kernel"], rtol=1e-5)
    np.testing.assert_allclose(together["stem/kernel"], 0.5 * alone["stem/kernel"], rtol=1e-5)


def test_a_wrong_pass_beside_a_changed_value_in_either_order(skip: Any) -> None:
    swapped = skip.one("GC106", place="body")
    negated = skip.one("GC504", place="segment 2")
    for injection in (both(swapped, negated), both(negated, swapped)):
        found = skip.weights(injection)
        np.testing.assert_array_equal(found["out/kernel"], -skip.weights()["out/kernel"])
        np.testing.assert_array_equal(found["body/kernel"], skip.weights(swapped)["body/kernel"])


def test_what_is_done_to_finished_gradients_comes_last(skip: Any) -> None:
    dropped = skip.one("GC105", effect="segment_2 handed no cotangent of stem")
    negated = skip.one("GC504", place="every gradient")
    for injection in (both(dropped, negated), both(negated, dropped)):
        for path, gradient in skip.weights(injection).items():
            np.testing.assert_array_equal(gradient, -skip.weights(dropped)[path])


def test_two_wrong_passes_cannot_be_in_one(skip: Any) -> None:
    swapped, half = skip.one("GC106", place="body"), skip.injections("GC104")[0]
    assert both(swapped, half) is None


def test_nor_can_two_numbers_of_micro_batches(skip: Any) -> None:
    over = [next(Summed().injections_over(skip.problem, count)) for count in (2, 4)]
    assert both(*over) is None
    assert both(over[0], skip.one("GC504", place="every gradient")).slices == 2


def test_all_but_one_segment_keep_the_scale(skip: Any) -> None:
    (injection,) = (
        i for i in LossScaleLeft().injections_with(skip.problem, 1024) if i.place.text == "every segment but 1"
    )
    for path, gradient in skip.weights(injection).items():
        times = 1 if path.startswith("body") else 1024
        np.testing.assert_array_equal(gradient, times * skip.weights()[path])

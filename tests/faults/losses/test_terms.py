"""GC505: one term of the loss counts otherwise than it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.faults.losses.terms import TermWeighed

HEADS = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, name: trunk}
        - Dense: {units: 2, name: left, inputs: [trunk]}
        - Dense: {units: 1, name: right, inputs: [trunk]}
      outputs: [left, right]
    split: {after: [trunk]}
    loss: MeanSquaredError
    loss_weights: [1.0, 0.5]
    data: {batch_size: 3}
"""
ONE = """
    model:
      input: {shape: [3]}
      layers: [Dense: {units: 4, activation: tanh, name: trunk}, Dense: {units: 2, name: out}]
    split: {after: [trunk]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


def with_factor(study: Any, factor: float, place: str) -> Any:
    (found,) = (i for i in TermWeighed().injections_with(study.problem, factor) if i.place.text == place)
    return found


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("factor", [0.0, 0.3, 3.0])
def test_a_term_is_multiplied(study: Any, micro_batches: int, factor: float) -> None:
    heads = study(f"\n    microbatches: {micro_batches}" + HEADS)
    left, right = heads.weights()["left/kernel"], heads.weights()["right/kernel"]
    found = heads.weights(with_factor(heads, factor, "the loss, output right"))
    np.testing.assert_allclose(found["left/kernel"], left, rtol=1e-6)
    np.testing.assert_allclose(found["right/kernel"], factor * right, rtol=1e-5)
    assert not np.allclose(found["trunk/kernel"], heads.weights()["trunk/kernel"], rtol=1e-3)


def test_the_loss_differs_too(study: Any) -> None:
    heads = study(HEADS)
    assert "loss:loss" in heads.wrong(heads.one("GC505", effect="the term of right in the loss was left out"))


def test_a_penalty_counts_half(study: Any) -> None:
    heads = study(HEADS)
    kernel = next(w.variable for w in heads.problem.weights if w.path == "trunk/kernel")
    found = heads.weights(with_factor(heads, 0.5, "segment 0"))
    np.testing.assert_allclose(
        heads.weights()["trunk/kernel"] - found["trunk/kernel"], 0.01 * kernel, rtol=1e-3, atol=1e-6
    )


def test_one_term_has_none_beside_it(study: Any) -> None:
    assert study(ONE).injections("GC505") == []
    assert list(TermWeighed().injections_with(study(ONE).problem, 0.5)) == []


def test_a_loss_scale_and_a_sign_are_other_mistakes(study: Any) -> None:
    fits = TermWeighed().fits
    problem = study(HEADS).problem
    assert [factor for factor in (-1.0, 0.3, 2.0, 3.0, 1024.0, 1000.0) if fits(problem, factor)] == [0.3, 2.0, 3.0]

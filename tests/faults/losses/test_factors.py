"""GC503 and GC504: a power of two, or -1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.faults.losses.factors import LossScaleLeft

CHAIN = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, name: first}
        - Dense: {units: 4, name: second}
        - Dense: {units: 2, name: out}
    split: {every: layer}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


@pytest.mark.parametrize("factor", [-1, 1024])
@pytest.mark.parametrize(
    ("place", "scaled"),
    [
        ("every gradient", {"first", "second", "out"}),
        ("boundary 1 → 2", {"first", "second"}),
        ("boundary 0 → 1", {"first"}),
        ("layer second", {"second"}),
    ],
)
def test_these_are_multiplied_and_no_others(study: Any, place: str, scaled: set[str], factor: int) -> None:
    chain = study(CHAIN)
    injections = chain.injections("GC504") if factor < 0 else LossScaleLeft().injections_with(chain.problem, factor)
    (injection,) = (i for i in injections if i.place.text == place)
    right = chain.weights()
    for path, gradient in chain.weights(injection).items():
        times = factor if path.partition("/")[0] in scaled else 1
        np.testing.assert_allclose(gradient, times * right[path], rtol=1e-5, err_msg=path)
    assert not [key for key in chain.wrong(injection) if key.startswith(("loss", "output"))]


def test_a_loss_is_scaled_in_float16_only(study: Any) -> None:
    assert not study(CHAIN).injections("GC503")
    assert not study("\n    precision: mixed_bfloat16" + CHAIN).injections("GC503")
    half = study("\n    precision: mixed_float16" + CHAIN)
    injection = half.one("GC503", place="every gradient")
    np.testing.assert_array_equal(half.weights(injection)["out/kernel"], 2**15 * half.weights()["out/kernel"])


def test_the_data_loss_alone(study: Any) -> None:
    """What layers add to the loss is right: the two gradients part where the penalty is."""
    penalised = study(CHAIN.replace("units: 4, name: second", "units: 4, kernel_regularizer: l2, name: second"))
    injection = penalised.one("GC504", place="every gradient", effect="of the data loss was negated")
    kernel = next(w.variable for w in penalised.problem.weights if w.path == "second/kernel")
    right = penalised.weights()
    for path, gradient in penalised.weights(injection).items():
        penalty = 2 * 0.01 * kernel.numpy() if path == "second/kernel" else 0.0
        np.testing.assert_allclose(gradient, -(right[path] - penalty) + penalty, rtol=1e-4, atol=1e-6, err_msg=path)
    assert not study(CHAIN).injections("GC504", effect="data loss")

"""Replays: what faults have in common is computed once, and the correct split is the one that the methods make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.faults.injection import Replays
from gradcheck.methods import METHODS

CONFIG = """
    model:
      input: {shape: [3]}
      layers: [Dense: {units: 4, activation: tanh, name: a}, Dense: {units: 2, kernel_regularizer: l2, name: b}]
    split: {after: [a]}
    loss: MeanSquaredError
    data: {batch_size: 4}
"""


def arrays(gradients: Any) -> dict[str, Any]:
    return {f"{key.kind}:{key.path}": as_array(tensor) for key, tensor in gradients.tensors.items()}


@pytest.mark.parametrize("scale", [None, 1024.0])
def test_the_loss_scale_is_undone_as_the_method_undoes_it(study: Any, same: Any, scale: float | None) -> None:
    problem = replace(study(CONFIG).problem, loss_scale=None if scale is None else tf.constant(scale))
    found, expected = arrays(Replays(problem).right), arrays(METHODS["vjp"](problem, MethodOptions()))
    same(found, expected)
    unscaled = arrays(study(CONFIG).replays.right)
    same({"boundary:a": found["boundary:a"]}, {"boundary:a": unscaled["boundary:a"] * (scale or 1.0)})
    same({"weight:a/kernel": found["weight:a/kernel"]}, {"weight:a/kernel": unscaled["weight:a/kernel"]})


def test_a_fault_over_all_passes_has_its_loss_scale_undone_too(study: Any, same: Any) -> None:
    """Seeds of ones are no gradient of the scaled loss: what comes of them is divided by the scale all the same."""
    plain = study(CONFIG)
    scaled = replace(plain.problem, loss_scale=tf.constant(8.0))
    (injection,) = plain.injections("GC101", place="boundary 0")
    found = Replays(scaled).gradients(injection)
    expected = plain.weights(injection)["a/kernel"] / 8
    same({"a/kernel": arrays(found)["weight:a/kernel"]}, {"a/kernel": expected})

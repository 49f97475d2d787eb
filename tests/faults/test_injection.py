"""Replays: what faults have in common is computed once, and the correct split is the one that the methods make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.diagnose.replaying.replays import suspected_in
from gradcheck.faults.injection import Replays, _SharedPasses
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


SKIPPED = """
    model:
      input: {left: {shape: [4]}, right: {shape: [4]}}
      layers:
        - Dense: {units: 4, activation: tanh, name: a, inputs: [left]}
        - Dense: {units: 4, activation: tanh, name: b}
        - Add: {name: c, inputs: [b, right]}
        - Dense: {units: 4, activation: tanh, name: d}
        - Add: {name: e, inputs: [d, a]}
        - Dense: {units: 2, name: f}
    split: {after: [a, c]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


def test_what_is_shared_is_what_runs_anew(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backward passes behind a fault do not run again, tensors are those of the correct split; all bit for bit."""
    skipped = study(SKIPPED)
    backward = [i for i in suspected_in(skipped.problem, own_slices=False) if i.steps and not i.steps().changes_forward]
    shared = [skipped.replays.gradients(injection) for injection in backward]
    right = skipped.replays.right.tensors
    assert sum(any(found.tensors[key] is right[key] for key in right) for found in shared) > len(backward) // 3
    monkeypatch.setattr(_SharedPasses, "_last_changed", lambda *_: None)
    for injection, found in zip(backward, shared, strict=True):
        again = skipped.replays.gradients(injection).tensors
        assert again.keys() == found.tensors.keys()
        for key, tensor in again.items():
            assert (tensor is None) == (found.tensors[key] is None), (injection, key)
            if tensor is not None:
                np.testing.assert_array_equal(as_array(found.tensors[key]), as_array(tensor), f"{injection} {key}")

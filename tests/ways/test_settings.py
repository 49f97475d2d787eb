"""What people set when they train, in each way of training: all that apply match, but for what Keras does itself.

A third in CI, `--families all` for all. The table in docs/ways.md is this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

WAYS = ("accumulate", "replicas", "resume", "remat", "compiled", "fit")
DENSE = """
    model:
      input: {shape: [6]}
      layers:
        - Dense: {units: 8, activation: tanh, name: hidden}
        - Dense: {units: 3, name: out}
    loss: {SparseCategoricalCrossentropy: {from_logits: true}}
    data: {batch_size: 8}
"""
EMBEDDED = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 7, output_dim: 4, name: tokens}
        - Flatten: {name: flat}
        - Dense: {units: 2, name: out}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
PENALISED = DENSE.replace(
    "name: hidden}", "name: hidden, kernel_regularizer: l2, bias_regularizer: l1, activity_regularizer: l2}"
)
ADAM = {"learning_rate": 0.01}
#: By name: the model, the optimizer, other keys, and the ways that do not match: a code, or none.
SETTINGS: dict[str, tuple[str, Any, dict[str, Any], dict[str, str]]] = {
    "SGD with momentum": (DENSE, {"SGD": {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}}, {}, {}),
    "Adam": (DENSE, {"Adam": ADAM}, {}, {}),
    "AdamW": (DENSE, {"AdamW": {**ADAM, "weight_decay": 0.1}}, {}, {}),
    "Nadam": (DENSE, {"Nadam": ADAM}, {}, {}),
    "Lamb": (DENSE, {"Lamb": ADAM}, {}, {}),
    "Muon": (DENSE, {"Muon": ADAM}, {}, {}),
    "clipnorm": (DENSE, {"Adam": {**ADAM, "clipnorm": 0.1}}, {}, {"replicas": "GC405"}),
    "clipvalue": (DENSE, {"Adam": {**ADAM, "clipvalue": 0.01}}, {}, {"replicas": "GC405"}),
    "global_clipnorm": (DENSE, {"Adam": {**ADAM, "global_clipnorm": 0.1}}, {}, {"replicas": "GC405"}),
    "embeddings, SGD": (EMBEDDED, {"SGD": {"learning_rate": 0.1}}, {}, {}),
    "embeddings, Adam": (EMBEDDED, {"Adam": ADAM}, {}, {}),
    "LossScaleOptimizer": (DENSE, {"LossScaleOptimizer": {"inner_optimizer": {"Adam": ADAM}}}, {}, {}),
    "loss_scale_factor": (DENSE, {"Adam": {**ADAM, "loss_scale_factor": 64.0}}, {}, {}),
    "penalties": (PENALISED, {"Adam": ADAM}, {}, {}),
    "mixed_float16": (DENSE, {"Adam": ADAM}, {"precision": "mixed_float16"}, {"remat": "none"}),
    "mixed_bfloat16": (DENSE, {"Adam": ADAM}, {"precision": "mixed_bfloat16"}, {"remat": "none"}),
    "a schedule": (
        DENSE,
        {"SGD": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 4}}}},
        {},
        {"accumulate": "GC309"},
    ),
    "use_ema": (
        DENSE,
        {"Adam": {**ADAM, "use_ema": True, "ema_momentum": 0.8}},
        {},
        {"accumulate": "GC309", "resume": "GC308"},
    ),
}


@pytest.mark.third
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_is_diagnosed_in_every_way(run: Callable[..., RunReport], name: str) -> None:
    model, optimizer, keys, apart = SETTINGS[name]
    train = {"steps": 4, "optimizer": optimizer}
    found = run({**yaml.safe_load(model), **keys, "train": train, "methods": [*WAYS], "verify_reference": "never"})
    outcomes = {
        check.method: check.outcome if check.outcome == "match" else next(d.code for d in check.diagnoses)
        for check in found.checks
    }
    outcomes |= {note.partition(" does not apply")[0]: "none" for note in found.notes if " does not apply" in note}
    assert outcomes == {way: apart.get(way, "match") for way in WAYS}
    assert found.exit_code == (1 if {*apart.values()} - {"none"} else 0)

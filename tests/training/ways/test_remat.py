"""Rematerialisation, by Keras and by the model itself: what is computed again gives what it gave, or is named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.training.trained import MODEL, STATEFUL, statuses, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

MASKED = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 4, output_dim: 3, mask_zero: true, name: tokens}
        - Activation: {activation: tanh, name: cut}
        - LSTM: {units: 3, name: lstm}
        - Dense: {units: 1, name: out}
    split: {after: [cut]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
NORMED = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - BatchNormalization: {name: normal}
        - Dense: {units: 1, name: out}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
MODELS = """
    import keras
    import tensorflow as tf

    class Block(keras.layers.Layer):
        def __init__(self, how, rate=0.0, **kwargs):
            super().__init__(**kwargs)
            self.how = how
            self.dense = keras.layers.Dense(4, activation="tanh", name="dense")
            self.dropout = keras.layers.Dropout(rate, name="dropout")

        def build(self, shape):
            self.dense.build(shape)

        def branch(self, x, training):
            return self.dropout(self.dense(x), training=training)

        def call(self, x, training=False):
            if self.how == "recompute_grad":
                return x + tf.recompute_grad(lambda given: self.branch(given, training))(x)
            if self.how == "remat":
                return x + keras.remat(lambda given: self.branch(given, training))(x)
            return x + self.branch(x, training)

        def get_config(self):
            return {**super().get_config(), "how": self.how, "rate": self.dropout.rate}

    def block(how, rate):
        inputs = keras.Input((4,))
        return keras.Model(inputs, keras.layers.Dense(1, name="out")(Block(how, rate, name="block")(inputs)))

    def in_scope(rate):
        inputs = keras.Input((4,))
        with keras.RematScope(mode="full"):
            hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
            hidden = keras.layers.Dropout(rate, name="dropped")(hidden)
        return keras.Model(inputs, keras.layers.Dense(1, name="out")(hidden))
"""


def again(text: str, *options: Any, steps: int = 2, **keys: Any) -> dict[str, Any]:
    methods = [{"remat": each} for each in options or ({},)]
    return trained(text, {"SGD": {"momentum": 0.9}}, steps=steps, methods=methods, verify_reference="never", **keys)


def of_its_own(function: str, **kwargs: Any) -> tuple[dict[str, Any], dict[str, str]]:
    model = {"factory": f"./models.py:{function}", "kwargs": kwargs}
    text = yaml.safe_dump({"model": model, "loss": "MeanSquaredError", "data": {"batch_size": 6}})
    return again(text), {"models.py": MODELS}


def require_matches(found: RunReport, steps: int = 2) -> list[CheckReport]:
    assert found.error is None, found.error
    for check in found.checks:
        assert (check.outcome, check.steps, check.diagnoses) == ("match", steps, ()), check.failures[:3]
        assert set(statuses(check, "weight", "value", steps).values()) <= {"exact", "close"}
    return list(found.checks)


def only(found: RunReport, outcome: str) -> CheckReport:
    assert found.error is None, found.error
    (check,) = found.checks
    assert check.outcome == outcome, (check.failures[:3], check.notes)
    return check


def test_layers_activations_and_segments(run: Run) -> None:
    options = [{}, {"layers": ["second", "out"]}, {"mode": "activations"}]
    segments, named, activations = require_matches(run(again(MODEL, *options)))
    assert "computed again in the backward pass: each segment" in segments.notes
    assert "computed again in the backward pass: second, out" in named.notes
    assert "computed again in the backward pass: first, second, out" in activations.notes


def test_an_unknown_layer(run: Run) -> None:
    found = run(again(MODEL, {"layers": ["secnd"]}))
    assert found.error is not None
    assert (found.error.code, found.exit_code) == ("GC020", 2)
    assert found.error.message == "no layer is called secnd"
    assert "second" in (found.error.help or "")


def test_masks_cross_the_cuts(run: Run) -> None:
    """The LSTM skips what the embedding masks, in either pass; without the mask the gradients are others."""
    (check,) = require_matches(run(again(MASKED)))
    unmasked = yaml.safe_load(MASKED)
    unmasked["model"]["layers"][0]["Embedding"]["mask_zero"] = False
    (other,) = require_matches(run(again(yaml.safe_dump(unmasked))))
    assert check.loss != other.loss


def test_batch_norm_moves_twice(run: Run) -> None:
    check = only(run(again(NORMED)), "mismatch")
    (diagnosis,) = check.diagnoses
    assert (diagnosis.code, diagnosis.confidence, diagnosis.layer) == ("GC302", "exact", "normal")
    assert "normal/moving_mean of normal, normal/moving_variance of normal moved twice" in diagnosis.evidence


def test_dropout_and_batch_norm_are_both_named(run: Run) -> None:
    check = only(run(again(STATEFUL)), "mismatch")
    assert [(d.code, d.layer) for d in check.diagnoses] == [("GC303", "dropped"), ("GC302", "normal")]
    assert "of dropped was advanced twice in one step" in check.diagnoses[0].evidence
    without = only(run(again(STATEFUL, {"layers": ["first", "second", "out"]})), "match")
    assert "computed again in the backward pass: first, second, out" in without.notes


@pytest.mark.parametrize("how", ["remat", "recompute_grad"])
def test_a_model_that_does_it_by_itself(run: Run, how: str) -> None:
    check = only(run(*of_its_own("block", how=how, rate=0.0)), "match")
    assert "computed again in the backward pass: the model's own" in check.notes
    check = only(run(*of_its_own("block", how=how, rate=0.5)), "mismatch")
    assert [(d.code, d.layer, d.confidence) for d in check.diagnoses] == [("GC303", "dropout", "exact")]


def test_a_model_that_does_not(run: Run) -> None:
    check = only(run(*of_its_own("block", how="", rate=0.0)), "match")
    assert "computed again in the backward pass: the model's own" not in check.notes


@pytest.mark.parametrize(("rate", "outcome"), [(0.0, "match"), (0.5, "mismatch")])
def test_a_scope_of_its_own(run: Run, rate: float, outcome: str) -> None:
    check = only(run(*of_its_own("in_scope", rate=rate)), outcome)
    assert "computed again in the backward pass: the model's own" in check.notes
    assert [(d.code, d.layer) for d in check.diagnoses] == ([("GC303", "dropped")] if rate else [])


def test_what_keras_refuses(run: Run) -> None:
    found = run(again(MODEL, {"layers": ["first"]}, precision="mixed_float16"))
    assert found.checks == ()
    (note,) = [note for note in found.notes if note.startswith("remat does not apply: ")]
    assert "Keras's rematerialisation raises on this model: " in note

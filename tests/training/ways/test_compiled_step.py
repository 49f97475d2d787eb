"""One compiled step for batches of several sizes, beside the eager plain loop, as a graph and under XLA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.training.trained import STATEFUL, statuses, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Layers that see in Python what a compiled step does not have, or has once for all steps.
MODELS = """
    import keras
    import tensorflow as tf

    class ByStaticBatch(keras.layers.Layer):
        def call(self, x):
            return x / (x.shape[0] or 1)

    class Counting(keras.layers.Layer):
        calls = 0

        def call(self, x, training=False):
            self.calls += 1 if training else 0
            return x / (1.0 + self.calls)

    class InVariable(keras.layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

        def call(self, x, training=False):
            self.calls.assign_add(1.0 if training else 0.0)
            return x / (1.0 + self.calls)

    def with_layer(name):
        inputs = keras.Input((4,))
        hidden = keras.layers.Dense(5, activation="tanh", name="first")(inputs)
        return keras.Model(inputs, keras.layers.Dense(1, name="out")(globals()[name](name="between")(hidden)))

    def fixed():
        inputs = keras.Input(batch_shape=(6, 4))
        return keras.Model(inputs, keras.layers.Dense(1)(inputs))
"""


SMALL = """
    model:
      input: {shape: [4]}
      layers: [Dense: {units: 2, activation: tanh, name: hidden}, Dense: {units: 1, name: out}]
    loss: MeanSquaredError
    data: {batch_size: 6}
"""


def compiled(
    model: Any, optimizer: Any = "SGD", *, steps: int = 3, options: Any = None, **keys: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """A config for a text, or for a function of MODELS, with the files that it needs."""
    text = model
    if isinstance(model, dict):
        text = yaml.safe_dump({"model": model, "loss": "MeanSquaredError", "data": {"batch_size": 6}})
    methods = [{"compiled": each} for each in (options if isinstance(options, list) else [options or {}])]
    keys = {"verify_reference": "never", **keys}
    return trained(text, optimizer, steps=steps, methods=methods, **keys), {"models.py": MODELS}


def with_layer(name: str) -> dict[str, Any]:
    return {"factory": "./models.py:with_layer", "kwargs": {"name": name}}


def require_matches(found: RunReport, steps: int = 3) -> list[CheckReport]:
    assert found.error is None, found.error
    for check in found.checks:
        assert (check.outcome, check.steps) == ("match", steps), check.failures[:3]
        assert set(statuses(check, "weight", "value", steps).values()) <= {"exact", "close"}
    return list(found.checks)


def test_sizes_and_calls_of_several_steps(run: Run) -> None:
    """XLA; sizes in turn; and calls of two steps each, of which the last takes one."""
    options = [{}, {"execution": "xla", "sizes": [6, 5]}, {"steps_per_execution": 2, "sizes": [4]}]
    plain, xla, pairs = require_matches(run(*compiled(SMALL, "Adam", options=options)))
    assert "one signature for batches of 6 and 3" in plain.notes
    assert "one signature for batches of 6 and 5" in xla.notes
    assert "one signature for batches of 4" in pairs.notes
    # Inside a call of several steps nobody can look, and the loss of its steps is a mean.
    assert statuses(plain, "loss", "value", 3)
    assert statuses(pairs, "loss", "value", 3) == {}


def test_state_and_random_masks_in_a_graph(run: Run) -> None:
    (check,) = require_matches(run(*compiled(STATEFUL, {"SGD": {"momentum": 0.9}})))
    assert set(statuses(check, "state", "value", 3).values()) <= {"exact", "close"}


def test_xla_draws_other_masks(run: Run) -> None:
    found = run(*compiled(STATEFUL, options={"execution": "xla"}))
    assert found.checks == ()
    assert "compiled does not apply: XLA draws other random numbers than eager code" in found.notes


def test_a_counter_in_python(run: Run) -> None:
    """It counts the tracing once. No eager run starts from its value: nothing tells the two apart."""
    (check,) = run(*compiled(with_layer("Counting"), steps=2)).checks
    assert (check.outcome, check.first_failing_step) == ("mismatch", 1)


@pytest.mark.usefixtures("patient")
def test_a_size_that_python_does_not_see(run: Run) -> None:
    found = run(*compiled(with_layer("ByStaticBatch"), {"SGD": {"learning_rate": 0.1}}, steps=2))
    (check,) = found.checks
    assert check.outcome == "mismatch"
    assert [(d.code, d.confidence) for d in check.diagnoses] == [("GC606", "exact")]
    assert "run eagerly, end" in check.diagnoses[0].evidence


def test_a_count_in_a_variable(run: Run) -> None:
    (check,) = require_matches(run(*compiled(with_layer("InVariable"))))
    assert statuses(check, "state", "value", 3) == {"between/calls": "exact"}


@pytest.mark.parametrize(
    ("model", "size"), [({"factory": "./models.py:fixed"}, 6), (SMALL, 1)], ids=["fixed size", "one example"]
)
def test_batches_of_one_size(run: Run, model: Any, size: int) -> None:
    (check,) = require_matches(run(*compiled(model, data={"batch_size": size})))
    assert f"compiled for one size alone: the batch, of {size}, cannot be made smaller" in check.notes


def test_sizes_larger_than_the_batch(run: Run) -> None:
    found = run(*compiled(SMALL, options={"sizes": [4, 8]}))
    assert found.error is not None
    assert (found.error.code, found.error.message) == ("GC031", "the batch has 6 examples. Received: 8")
    assert found.error.location is not None
    assert found.error.location.excerpt.strip() == "- 8"

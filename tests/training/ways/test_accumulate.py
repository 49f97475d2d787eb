"""Gradient accumulation by Keras's optimizers over slices of a batch: what matches, and what counts slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import pytest
import yaml

from gradcheck.config.sections.methods import AccumulateOptions
from tests.training.trained import DECAY, MODEL, SHARED, STATEFUL, statuses, trained

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Without penalties; its slices are halves, which round nothing.
PLAIN = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - Dense: {units: 1, name: out}
    loss: MeanSquaredError
    data: {batch_size: 8}
"""
#: All rows are moved to the norm of the constraint at a rate, so that applying it twice moves them further.
CONSTRAINED = """
    model:
      input: {shape: [4]}
      layers:
        - Dense:
            units: 5
            name: first
            kernel_constraint: {MinMaxNorm: {min_value: 1.5, max_value: 2.0, rate: 0.3}}
        - Dense: {units: 1, name: out}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""


FIXED = """
    import keras

    def fixed():
        inputs = keras.Input(batch_shape=(6, 4))
        return keras.Model(inputs, keras.layers.Dense(1)(inputs))
"""


def accumulated(text: str, optimizer: Any, *, steps: int | None = None, over: int = 3, **keys: Any) -> dict[str, Any]:
    method = {"accumulate": {} if steps is None else {"steps": steps}}
    return {"verify_reference": "never", **trained(text, optimizer, steps=over, methods=[method], **keys)}


def changed(text: str, **keys: Any) -> str:
    return yaml.safe_dump({**yaml.safe_load(text), **keys})


def require_match(found: RunReport) -> CheckReport:
    """The only check of a run, which matches in all of its steps, by weights and slots that have moved."""
    assert found.verdict == "pass", found.error or found.notes
    (check,) = found.checks
    assert (check.outcome, check.steps) == ("match", 3)
    assert set(statuses(check, "weight", "value", 3).values()) <= {"exact", "close", "inconclusive"}
    assert set(statuses(check, "optimizer", "value", 3).values()) <= {"exact", "close", "inconclusive", "dead"}
    assert set(statuses(check, "loss", "value", 3).values()) <= {"exact", "close"}
    return check


def require_code(found: RunReport, code: str, *words: str) -> CheckReport:
    """A mismatch that one exact diagnosis explains."""
    (check,) = found.checks
    assert check.outcome == "mismatch"
    assert [(d.code, d.confidence) for d in check.diagnoses] == [(code, "exact")]
    for word in words:
        assert word in check.diagnoses[0].evidence
    return check


@pytest.mark.parametrize(
    "optimizer",
    [{"SGD": {"momentum": 0.9, "nesterov": True}}, {"AdamW": {"weight_decay": 0.1, "global_clipnorm": 0.01}}],
    ids=["SGD", "AdamW"],
)
def test_the_same_as_one_step_over_all_slices(run: Run, optimizer: Any) -> None:
    """The model has a penalty, which counts once however many slices there are."""
    check = require_match(run(accumulated(MODEL, optimizer, steps=3)))
    slots = statuses(check, "optimizer", "value", 3)
    (iteration,) = (path for path in slots if path.endswith("/iteration"))
    assert slots[iteration] == "exact"  # the calls of the optimizer, counted in steps


def test_where_nothing_is_rounded_otherwise_it_is_the_same_bit_for_bit(run: Run) -> None:
    check = require_match(run(accumulated(PLAIN, "Adam", steps=2, precision="float64")))
    assert {tensor.status for tensor in check.tensors if tensor.kind == "weight"} == {"exact"}


def test_batch_norm_and_dropout_see_the_same_slices(run: Run) -> None:
    """They depend on the slices, as is meant: a remark, and no mismatch."""
    without_constraint = yaml.safe_load(STATEFUL)
    del without_constraint["model"]["layers"][0]["Dense"]["kernel_constraint"]
    check = require_match(run(accumulated(yaml.safe_dump(without_constraint), "Adam", steps=4)))
    assert set(statuses(check, "state", "value", 3).values()) <= {"exact", "close"}
    assert [note for note in check.notes if note.startswith("GC301")]


def test_sparse_gradients_are_accumulated_as_dense_ones(run: Run) -> None:
    check = require_match(run(accumulated(SHARED, "Adam", steps=2)))
    assert [note for note in check.notes if "sparse gradients (tokens/embeddings) are made dense" in note]
    assert not [note for note in check.notes if note.startswith("GC301")]


def test_scaled_losses(run: Run) -> None:
    check = require_match(run(accumulated(MODEL, "Adam", steps=2, precision="mixed_float16")))
    assert any("dynamic_scale" in path for path in statuses(check, "optimizer", "value", 3))


def test_a_cotangent_of_ones_own_is_no_mean(run: Run) -> None:
    require_match(run(accumulated(changed(MODEL, loss="random_cotangent"), "SGD", steps=3)))


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    ("text", "optimizer", "says"),
    [
        (PLAIN, {"SGD": {"learning_rate": DECAY}}, "the learning-rate schedule counted micro-batches"),
        (PLAIN, {"Adam": {"use_ema": True, "ema_momentum": 0.8}}, "moving averages"),
        (CONSTRAINED, {"SGD": {"learning_rate": 0.1}}, "the constraints of weights were applied after each"),
        (
            PLAIN,
            {"Adam": {"learning_rate": DECAY, "use_ema": True, "ema_momentum": 0.8}},
            "schedule, averages and constraints counted micro-batches",
        ),
    ],
    ids=["schedule", "averages", "constraint", "two at once"],
)
def test_what_counts_slices_is_named(run: Run, text: str, optimizer: Any, says: str) -> None:
    require_code(run(accumulated(text, optimizer, steps=2)), "GC309", says)


@pytest.mark.usefixtures("patient")
def test_a_shorter_last_slice_weighs_as_much(run: Run) -> None:
    found = run(accumulated(changed(PLAIN, data={"batch_size": 5}), "SGD", steps=2, over=2))
    check = require_code(found, "GC203")
    assert check.first_failing_step == 1


@pytest.mark.usefixtures("patient")
def test_each_slice_divides_by_its_own_weights(run: Run) -> None:
    own = """
        def data(seed):
            import numpy as np
            rng = np.random.default_rng(seed)
            x, y = rng.normal(size=(6, 4)).astype("float32"), rng.normal(size=(6, 1)).astype("float32")
            return x, y, np.array([1, 2, 3, 4, 5, 6], "float32")
    """
    text = changed(
        PLAIN,
        loss={"MeanSquaredError": {"reduction": "mean_with_sample_weight"}},
        data={"factory": "./data.py:data", "kwargs": {"seed": 3}},
    )
    require_code(run(accumulated(text, "SGD", steps=2, over=2), {"data.py": own}), "GC208")


@pytest.mark.usefixtures("patient")
def test_a_sum_is_divided_all_the_same(run: Run) -> None:
    text = changed(PLAIN, loss={"MeanSquaredError": {"reduction": "sum"}})
    require_code(run(accumulated(text, {"SGD": {"learning_rate": 0.001}}, steps=2, over=2)), "GC202")


@pytest.mark.parametrize(
    ("keys", "optimizer", "steps", "reason"),
    [
        ({}, {"Adam": {"gradient_accumulation_steps": 2}}, 2, "the optimizer, Adam, accumulates by itself"),
        (
            {},
            {"MultiOptimizer": {"optimizer_map": {"default_optimizer": "SGD", "optimizer_map": {".*kernel": "Adam"}}}},
            2,
            "the optimizer, MultiOptimizer, accumulates by itself, or cannot",
        ),
        ({"data": {"batch_size": 1}}, "SGD", None, "2 micro-batches of a batch of 1"),
        (
            {"model": {"factory": "./model.py:fixed"}, "split": None},
            "SGD",
            2,
            "of the fixed shape (6, 4)",
        ),
    ],
    ids=["accumulates already", "several optimizers", "one example", "fixed size"],
)
def test_it_does_not_apply(run: Run, keys: dict[str, Any], optimizer: Any, steps: int | None, reason: str) -> None:
    found = run(accumulated(changed(MODEL, **keys), optimizer, steps=steps), {"model.py": FIXED})
    assert (found.error, found.checks) == (None, ())
    (note,) = [note for note in found.notes if note.startswith("accumulate does not apply: ")]
    assert reason in note


@pytest.mark.parametrize(("size", "slices"), [(2, 2), (6, 2), (9, 3), (35, 5), (7, 7), (1, 2)])
def test_as_many_slices_as_divide_the_batch(size: int, slices: int) -> None:
    assert AccumulateOptions().slices(size) == slices
    assert AccumulateOptions(steps=4).slices(size) == 4


def test_keras_accumulates_a_mean() -> None:
    """What the way rests on, should Keras change: the update is that of the mean of the gradients."""
    variable = keras.Variable([1.0])
    optimizer = keras.optimizers.SGD(1.0, gradient_accumulation_steps=2)
    optimizer.build([variable])
    for gradient in (0.25, 0.75):
        optimizer.apply([keras.ops.convert_to_tensor([gradient])], [variable])
    assert variable.numpy().tolist() == [0.5]

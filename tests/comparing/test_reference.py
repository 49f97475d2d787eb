"""The noise floor: rounding is excused, a fault of 100 times its size is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck import load_config
from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.methods.by_segment.vjp import vjp
from gradcheck.numerics import NOISE_FACTOR, PRECISIONS, TolerancePolicy
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import RunReport, TensorReport

TRANSFORMER = """
model:
  input: {shape: [6, 8]}
  layers:
    - Dense: {units: 8, name: embed}
    - MultiHeadAttention: {num_heads: 2, key_dim: 4, dropout: 0.1, name: attention, inputs: [embed, embed]}
    - Add: {name: residual_0, inputs: [embed, attention]}
    - LayerNormalization: {name: norm_0}
    - Dense: {units: 16, activation: gelu, name: mlp_0}
    - Dense: {units: 8, name: mlp_1}
    - Add: {name: residual_1, inputs: [norm_0, mlp_1]}
    - LayerNormalization: {name: norm_1}
split: {every: layer}
data: {batch_size: 3}
"""
KEY_BIAS = "attention/key/bias"


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_a_transformer_block_cut_after_every_layer_passes(run: Callable[..., RunReport], execution: str) -> None:
    report = run(TRANSFORMER, execution=execution)
    assert report.verdict == "pass", [tensor for check in report.checks for tensor in check.failures]
    assert report.coverage.compared == 18


@pytest.mark.parametrize("precision", ["float32", "float64", "mixed_bfloat16"])
def test_the_floor_is_of_the_size_of_the_precision(tmp_path: Path, precision: str) -> None:
    path = tmp_path / "transformer.yaml"
    path.write_text(TRANSFORMER, encoding="utf-8")
    loaded = load_config(path, overrides=[f"precision={precision}"])
    eps = PRECISIONS[compute_dtype(precision)].eps
    with session(loaded.config):
        reference = Reference(prepare(loaded.config, loaded.base))
        floors = reference.noise_floors
        assert 0.1 * eps < reference.noise_share < 1000 * eps
    assert all(floors[key] > 0 for key in floors if key.path in (KEY_BIAS, "embed/kernel", "loss"))


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Problem, Reference, Gradients]]:
    path: Path = tmp_path_factory.mktemp("noise") / "transformer.yaml"
    path.write_text(TRANSFORMER, encoding="utf-8")
    loaded = load_config(path)
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        yield problem, Reference(problem), vjp(problem, loaded.config.methods[0].options)


def planted(checked: tuple[Problem, Reference, Gradients], factor: float, *, noise: bool = True) -> TensorReport:
    """The record of the key bias, with one element off by `factor` noise floors."""
    problem, reference, gradients = checked
    key = next(weight.key for weight in problem.weights if weight.path == KEY_BIAS)
    floor = reference.noise_floors[key]
    wrong = np.array(reference.tensors[key])
    wrong[1, 2] += factor * floor
    candidate = type(gradients)(**{**vars(gradients), "tensors": {**gradients.tensors, key: wrong}})
    records = compare_all(problem, reference, candidate, TolerancePolicy(), noise=noise)
    others = [record.path for record in records if record.failed and record.path != KEY_BIAS]
    assert others == []
    return next(record for record in records if record.path == KEY_BIAS)


def test_a_key_bias_gradient_is_zero_but_for_rounding(checked: tuple[Problem, Reference, Gradients]) -> None:
    problem, reference, _ = checked
    key = next(weight.key for weight in problem.weights if weight.path == KEY_BIAS)
    assert 0 < np.abs(reference.tensors[key]).max() < 1e-5
    assert reference.noise_floors[key] > 0


@pytest.mark.parametrize(("factor", "status"), [(3.5, "close"), (10, "mismatch"), (100, "mismatch")])
def test_a_difference_is_judged_by_the_floor(
    checked: tuple[Problem, Reference, Gradients], factor: float, status: str
) -> None:
    record = planted(checked, factor)
    assert record.status == status
    assert record.noise_floor is not None
    assert record.worst is not None
    if status == "mismatch":
        assert record.worst.index == (1, 2)
        assert record.mismatched_elements == 1


def test_without_the_floor_rounding_is_a_mismatch(checked: tuple[Problem, Reference, Gradients]) -> None:
    record = planted(checked, 3.5, noise=False)
    assert (record.status, record.noise_floor) == ("mismatch", None)


def test_the_floor_is_not_measured_where_nothing_fails(tmp_path: Path) -> None:
    path = tmp_path / "transformer.yaml"
    path.write_text(TRANSFORMER, encoding="utf-8")
    loaded = load_config(path)
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        reference = Reference(problem)
        compare_all(problem, reference, reference.gradients, TolerancePolicy(), noise=True)
        assert "noise_floors" not in vars(reference)


def test_a_perturbed_run_puts_the_weights_back(checked: tuple[Problem, Reference, Gradients]) -> None:
    problem, reference, _ = checked
    assert reference.noise_floors
    assert problem.state.changed([weight.variable for weight in problem.weights]) == []


ONE_WRONG = """
    import tensorflow as tf

    def gradients(given):
        with tf.GradientTape() as tape:
            loss = given.loss(given.y, given.model(given.x, training=given.training))
        found = tape.gradient(loss, given.variables)
        kernel = found[0]
        off = 1e-4 * tf.reduce_max(tf.abs(kernel))
        found[0] = tf.tensor_scatter_nd_add(kernel, [[123, 456]], [off])
        return loss, found
"""


def test_one_wrong_element_of_a_million_is_found_with_its_index(run: Callable[..., RunReport]) -> None:
    layers = [{"Dense": {"units": 1000, "name": "wide"}}, {"Dense": {"units": 3, "name": "out"}}]
    config = {
        "model": {"input": {"shape": [1000]}, "layers": layers},
        "split": {"every": "layer"},
        "methods": [{"candidate": {"factory": "./mine.py:gradients"}}],
    }
    report = run(config, {"mine.py": ONE_WRONG})
    (check,) = report.checks
    (wrong,) = check.failures
    assert (report.exit_code, wrong.path, wrong.elements, wrong.mismatched_elements) == (1, "wide/kernel", 10**6, 1)
    assert wrong.worst is not None
    assert wrong.worst.index == (123, 456)
    assert [(diagnosis.code, diagnosis.layer) for diagnosis in check.diagnoses] == [("GC900", "wide")]


@pytest.mark.slow
def test_what_deep_batch_norm_amplifies_is_close_and_the_report_says_what_it_would_not_see(
    run: Callable[..., RunReport],
) -> None:
    """Eager and graph add up in another order: at random weights ResNet50 makes a few per cent of that."""
    model = {"application": "ResNet50", "kwargs": {"weights": None, "input_shape": [32, 32, 3], "classes": 7}}
    data = {"batch_size": 4}
    report = run({"model": model, "split": {"parts": 3}, "data": data, "methods": ["graph"]})
    assert report.verdict == "pass"
    (check,) = report.checks
    close = [tensor for tensor in check.of_kind("weight") if tensor.status == "close"]
    assert len(close) > 100
    beyond = [tensor for tensor in close if not tensor.allclose]
    assert beyond
    assert all(tensor.max_abs_error <= NOISE_FACTOR * (tensor.noise_floor or 0.0) for tensor in beyond)
    assert any("would not be seen" in warning for warning in report.warnings)

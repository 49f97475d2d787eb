"""`hvp`: second order through the split and through the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

CHAIN = [
    {"Dense": {"units": 5, "activation": "tanh", "name": "first"}},
    {"Dense": {"units": 4, "activation": "gelu", "name": "second"}},
    {"Dense": {"units": 2, "name": "third"}},
]
CONVOLUTIONS = [
    {"Conv2D": {"filters": 3, "kernel_size": 2, "name": "first"}},
    {"Activation": {"activation": "tanh", "name": "norm"}},
    {"Activation": {"activation": "softplus", "name": "second"}},
    {"Dropout": {"rate": 0.3, "name": "dropped"}},
    "Flatten",
    {"Dense": {"units": 2, "name": "third"}},
]
SKIP = [
    {"Dense": {"units": 4, "activation": "tanh", "name": "first"}},
    {"Dense": {"units": 4, "activation": "tanh", "name": "second"}},
    {"Multiply": {"name": "third", "inputs": ["first", "second"]}},
]


def config(layers: list[Any], shape: list[int], **more: Any) -> dict[str, Any]:
    more = {"data": {"batch_size": 4}, "loss": "MeanSquaredError", "methods": ["hvp"], **more}
    return {"model": {"input": {"shape": shape}, "layers": layers}, **more}


def statuses(report: RunReport) -> dict[str, str]:
    (check,) = report.checks
    assert check.error is None, check.error
    return {tensor.path: tensor.status for tensor in check.tensors}


@pytest.mark.parametrize("split", [None, {"after": ["first", "second"]}, {"every": "layer"}])
@pytest.mark.parametrize(
    ("layers", "shape"), [(CHAIN, [3]), (CONVOLUTIONS, [4, 4, 1]), (SKIP, [3])], ids=["chain", "convolutions", "skip"]
)
def test_both_ways_agree(run: Run, layers: list[Any], shape: list[int], split: Any) -> None:
    report = run(config(layers, shape, split=split))
    assert set(statuses(report).values()) <= PROVEN, [(t.path, t.max_rel_error) for t in report.checks[0].failures]
    assert report.verdict == "pass"


@pytest.mark.parametrize("norm", ["BatchNormalization", "LayerNormalization"])
def test_what_both_ways_share_is_held_against_differences(run: Run, norm: str) -> None:
    """`tf.nn.moments` stops the gradient at the mean: the first order is right without it, the second is not.

    A bias before batch norm changes nothing, so that its part of the Hessian is zero.
    """
    layers = [{"Dense": {"units": 3, "name": "first"}}, {norm: {"name": "norm"}}, {"Activation": "softplus"}]
    report = run({"model": {"input": {"shape": [3]}, "layers": layers}, "methods": ["numeric", "hvp"]})
    numeric, hvp = report.checks
    assert numeric.outcome == "match"
    assert {t.path for t in hvp.failures} == {"input", "first/kernel", "first/bias"}
    assert hvp.diagnoses[0].code == "GC601"
    if norm == "BatchNormalization":
        (bias,) = [t for t in hvp.tensors if t.path == "first/bias"]
        assert bias.worst is not None
        assert abs(bias.worst.candidate) < 1e-9
        assert abs(bias.worst.reference) > 0.1


def test_the_numbers_are_those_of_the_hessian(run: Run) -> None:
    """For sum(y · x²) the Hessian is diag(2y): every projection is known."""
    import numpy as np

    from gradcheck import load_config
    from gradcheck.methods.directional.directions import random_directions
    from gradcheck.methods.directional.hvp import hvp
    from gradcheck.problem.prepare import prepare, session

    square = {"model": {"input": {"shape": [3]}, "layers": [{"Multiply": {"inputs": ["input", "input"]}}]}}
    report = run({**square, "methods": ["hvp"]})
    loaded = load_config(report.config)
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        found = hvp(problem, loaded.config.methods[0].options)
        key, y = problem.input_key(0), np.asarray(problem.batch.y[0])
        v, u = (random_directions(key, y.shape, count=3, seed=seed) for seed in (0, 1))
        expected = np.sum(2 * y * v * u, axis=(1, 2))
        np.testing.assert_allclose(found.tensors[key], expected, rtol=1e-5)
        np.testing.assert_allclose(found.against[key], expected, rtol=1e-5)


def test_a_boundary_cut_off_in_second_order_only_is_seen(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from gradcheck.handoff.split import HandOff

    monkeypatch.setattr(HandOff, "cotangent", lambda _self, _segment, _ref, _output, c: tf.stop_gradient(c))
    layers = config(CHAIN, [3], split={"after": ["first"]})
    assert run({**layers, "methods": ["vjp"]}).verdict == "pass"
    report = run(layers)
    assert report.exit_code == 1
    assert statuses(report)["first/kernel"] == "mismatch"


def test_a_linear_model_has_no_second_order(run: Run) -> None:
    layers = [{"Dense": {"units": 3, "use_bias": False, "name": "first"}}, {"ReLU": {"name": "second"}}]
    report = run(config(layers, [3], loss="random_cotangent", split={"after": ["first"]}))
    assert set(statuses(report).values()) <= {"dead", "absent", *PROVEN}
    bare = run(config([{"Rescaling": 2.0}], [3], loss="random_cotangent"))
    assert set(statuses(bare).values()) <= {"dead", "absent"}


def test_what_cannot_be_differentiated_twice_is_an_error(run: Run) -> None:
    resized = {"Resizing": {"height": 5, "width": 5, "interpolation": "bicubic"}}
    report = run(config([{"Conv2D": {"filters": 2, "kernel_size": 2}}, resized], [4, 4, 1]))
    assert report.exit_code == 3
    assert report.error is not None
    assert report.error.code == "GC055"
    assert "ResizeBicubicGrad" in report.error.message


@pytest.mark.parametrize("precision", ["float64", "mixed_float16"])
def test_every_precision(run: Run, precision: str) -> None:
    assert run(config(CHAIN, [3], precision=precision, split={"after": ["first"]})).verdict == "pass"

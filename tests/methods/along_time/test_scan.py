"""Recurrent layers in one while-loop: over a cell the states' gradient flows, over a stateful layer it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.methods.along_time.scan import SAME

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

TOKENS = """
import numpy as np

def batch():
    x = np.array([[1, 2, 0, 0, 3, 4], [0, 0, 0, 0, 5, 6], [1, 0, 2, 3, 0, 0], [0, 1, 2, 3, 4, 5]])
    return x, np.random.default_rng(0).normal(size=(4, 2))
"""
DROPOUT = {"dropout": 0.3, "recurrent_dropout": 0.4}


def config(*methods: Any, more: dict[str, Any] | None = None, **split: Any) -> dict[str, Any]:
    """Two recurrent layers with the arguments `more` on masked tokens."""
    layers = [
        {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}},
        {"LSTM": {"units": 3, "return_sequences": True, "name": "first", **(more or {})}},
        {"GRU": {"units": 2, "name": "second", **(more or {})}},
    ]
    return {
        "model": {"input": {"shape": [6], "dtype": "int32"}, "layers": layers},
        "split": split or {"time": {"chunks": 3}},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 4, "factory": "./tokens.py:batch"},
        "methods": [*methods],
        "tolerance": {"noise": "off"},
    }


def test_over_cells(run: Callable[..., RunReport]) -> None:
    whole, one = run(config("scan", {"scan": {"layer": "second"}}, more=DROPOUT), {"tokens.py": TOKENS}).checks
    assert (whole.outcome, one.outcome) == ("match", "match"), [whole.failures, one.failures]
    assert whole.warnings == whole.notes == ()


@pytest.mark.parametrize("more", [{}, DROPOUT], ids=["plain", "dropout"])
def test_over_a_layer_the_forward_pass_alone_is_right(run: Callable[..., RunReport], more: dict[str, Any]) -> None:
    methods = [{"scan": {"over": "layer", "layer": name}} for name in ("first", "second")]
    for check in run(config(*methods, more=more), {"tokens.py": TOKENS}).checks:
        assert check.outcome == "mismatch", check.error
        assert {tensor.kind for tensor in check.failures} == {"weight"}
        assert check.notes == (), "the other layer is not stateful here, and `stateful` makes both so"


def test_over_the_only_layer_it_equals_stateful(run: Callable[..., RunReport]) -> None:
    given = config("stateful", {"scan": {"over": "layer", "layer": "second"}})
    del given["model"]["layers"][1]
    stateful, scan = run(given, {"tokens.py": TOKENS}).checks
    assert (stateful.outcome, scan.outcome) == ("mismatch", "mismatch")
    assert (scan.notes, scan.warnings) == ((SAME,), ())
    for left, right in zip(stateful.of_kind("weight"), scan.of_kind("weight"), strict=True):
        assert left.max_abs_error == pytest.approx(right.max_abs_error, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "split", "code", "message"),
    [
        ({"over": "layer", "layer": "second"}, {"time": {"lengths": [1, 3, 2]}}, "GC027", "Received: 1, 3, 2"),
        ({"over": "layer", "layer": "secnd"}, {"time": {"chunks": 2}}, "GC004", "'secnd'"),
        ({}, {"after": ["first"]}, "GC027", "needs a time split"),
    ],
)
def test_what_it_refuses(
    run: Callable[..., RunReport], options: dict[str, Any], split: dict[str, Any], code: str, message: str
) -> None:
    (check,) = run(config({"scan": options}, **split), {"tokens.py": TOKENS}).checks
    assert check.error is not None
    assert check.error.code == code
    assert message in check.error.message

"""Which side float64 takes, and what is said where it cannot take one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODEL: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [
            {"Dense": {"units": 3, "activation": "tanh", "name": "first"}},
            {"Dense": {"units": 2, "name": "last"}},
        ],
    },
    "split": {"every": "layer"},
    "loss": "MeanSquaredError",
    "data": {"batch_size": 5},
    "methods": [{"candidate": {"factory": "./mine.py:mine"}}],
}
CANDIDATE = """
    import tensorflow as tf

    def mine(given):
        with tf.GradientTape() as tape:
            loss = given.loss(given.y, given.model(given.x, training=True))
        kernel, *others = tape.gradient(loss, given.variables)
        return loss, [CHANGED, *others]
"""


def opinion(run: Run, changed: str, **changes: Any) -> str | None:
    report = run({**MODEL, **changes}, {"mine.py": CANDIDATE.replace("CHANGED", changed)})
    (check,) = report.checks
    assert check.outcome == ("match" if changed == "kernel" else "mismatch")
    return check.second_opinion


@pytest.mark.parametrize(
    ("changed", "figure"),
    [
        ("2 * kernel", "the candidate is off by 1.0e+00 of its size"),
        ("kernel * float('nan')", "the candidate is not finite"),
        ("kernel / 0", "the candidate is not finite"),
        ("kernel[None]", "the candidate has the shape (1, 4, 3)"),
    ],
)
def test_the_side_of_the_reference(run: Run, changed: str, figure: str) -> None:
    said = opinion(run, changed) or ""
    assert said.startswith("float64 sides with the reference: at first/kernel the reference is off by ")
    assert said.endswith(f"of its size, {figure}")


@pytest.mark.parametrize("changed", ["kernel", "None"])
def test_nothing_is_said_where_there_is_nothing_to_hold_against_float64(run: Run, changed: str) -> None:
    assert opinion(run, changed) is None


def test_the_side_of_neither(run: Run) -> None:
    """In 16 bits the reference is off by as much as a small mistake."""
    tolerance = {"rtol": 1e-6, "atol": 0, "noise": "off"}
    said = opinion(run, "kernel * 1.001", precision="mixed_bfloat16", tolerance=tolerance) or ""
    assert said.startswith("float64 sides with neither: at first/kernel the reference is off by ")


def test_none_in_float64(run: Run) -> None:
    assert opinion(run, "2 * kernel", precision="float64") is None


def test_none_where_numbers_are_drawn(run: Run) -> None:
    layers = [*MODEL["model"]["layers"], {"Dropout": {"rate": 0.5}}]
    said = opinion(run, "2 * kernel", model={**MODEL["model"], "layers": layers}, split={"after": ["first"]}) or ""
    assert said.startswith("no second opinion in float64: the model draws random numbers")

from __future__ import annotations

from typing import Any

import pytest

from gradcheck.diagnose.evidence.location import located

#: Rows, the first wrong one, and words about it.
CASES = {
    "an output": (
        [("out", True, "output", 1), ("loss", True, "loss", None), ("a/kernel", True)],
        "out",
        "the forward pass is wrong: out differs",
    ),
    "state alone": (
        [("a/kernel", False), ("norm/moving_mean", True, "state", 0)],
        "norm/moving_mean",
        "gradients are right, and the state afterwards is not",
    ),
    "a cotangent": (
        [("a/kernel", True), ("a", True, "boundary", 0), ("b/kernel", False, "weight", 1)],
        "a",
        "the cotangent that was handed back to it is wrong",
    ),
    "inside a segment": (
        [("a/kernel", True), ("a", False, "boundary", 0), ("b/kernel", False, "weight", 1)],
        "a/kernel",
        "the cotangent that was handed to it is right, so the mistake is inside the segment",
    ),
    "a weight alone": (
        [("a/kernel", False), ("b/kernel", True, "weight", 1), ("b/bias", False, "weight", 1)],
        "b/kernel",
        "1 of its 2 weights is wrong, and 0 of 1 before it): what it hands back is right",
    ),
    "from a segment on": (
        [("a/kernel", True), ("b/kernel", True, "weight", 1), ("c/kernel", False, "weight", 2)],
        "b/kernel",
        "what is handed back to it, or its own backward pass, is wrong",
    ),
    "the model's input": (
        [("x", True, "input", None), ("a/kernel", False)],
        "x",
        "of the model's input: all that follows it is right",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_where_a_mismatch_begins(rows: Any, name: str) -> None:
    given, first, words = CASES[name]
    row, said = located(rows(*given))
    assert row is not None
    assert row.path == first
    assert words in said


def test_nothing_wrong_has_no_place(rows: Any) -> None:
    row, said = located(rows(("a/kernel", False)))
    assert row is None
    assert said == "nothing that was compared is wrong"

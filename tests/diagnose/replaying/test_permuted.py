"""Rows of a cotangent in an order that nobody knows: read off the gradients, and replayed."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.diagnose import Effort, Observed, Replayed
from gradcheck.diagnose.replaying.permuted import _order, with_rows
from gradcheck.faults.boundary.rows_reordered import in_order
from gradcheck.numerics import TolerancePolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIG = """
model:
  input: {shape: [3]}
  layers:
    - Dense: {units: 4, activation: tanh, name: first}
    - Dense: {units: 3, activation: tanh, name: second}
    - Dense: {units: 2, name: third}
split: {after: [first, second]}
loss: MeanSquaredError
data: {batch_size: 8}
"""


def observed(problem: Any, index: int, rows: Sequence[int], scale: float = 1.0) -> Observed:
    reference, replayed = Reference(problem), Replayed(problem)
    found = replayed.replays.gradients(in_order(problem, index, rows))
    tensors = {key: g * scale if key.path == "first/kernel" else g for key, g in found.tensors.items()}
    gradients = replace(found, outputs=(), tensors=tensors)
    rows_of_report = compare_all(problem, reference, gradients, TolerancePolicy(), noise=False)
    return Observed(problem=problem, reference=reference, gradients=gradients, rows=rows_of_report)


def found_in(seen: Observed) -> Any:
    return with_rows(seen, Replayed(seen.problem), end=time.monotonic() + 60, effort=Effort())


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("rows", [[3, 0, 7, 1, 6, 2, 5, 4], [0, 1, 2, 3, 4, 6, 5, 7]])
def test_any_order_is_read_off(problem: Any, index: int, rows: list[int]) -> None:
    match = found_in(observed(problem, index, rows))
    expected = in_order(problem, index, rows)
    assert (match.injection.code, match.injection.place) == ("GC111", expected.place)
    assert match.injection.effect == expected.effect
    assert match.agreement.close


def test_what_no_order_gives_is_not_named(problem: Any) -> None:
    assert found_in(observed(problem, 0, [3, 0, 7, 1, 6, 2, 5, 4], scale=1.05)) is None


@given(rows=st.permutations(range(7)), seed=st.integers(0, 2**16))
@settings(max_examples=30)
def test_the_order_of_a_sum(rows: list[int], seed: int) -> None:
    products = np.random.default_rng(seed).normal(size=(7, 7, 20))
    seen = products[np.arange(7), rows].sum(axis=0)
    assert _order(products, seen) == tuple(rows)
    assert _order(products, seen + np.random.default_rng(seed + 1).normal(size=20)) is None

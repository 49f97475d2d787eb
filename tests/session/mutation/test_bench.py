"""Whether two correct splits differ by rounding alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.numerics import Tolerance, compare
from gradcheck.problem.problem import TensorKey
from gradcheck.session.mutation.bench import only_rounding

EPS = 2.0**-23
LARGE, SMALL, VALUE = TensorKey("weight", "a"), TensorKey("weight", "b"), TensorKey("state", "c")


def moved(**pairs: tuple[Any, Any]) -> dict[TensorKey, Any]:
    keys = {"large": LARGE, "small": SMALL, "value": VALUE}
    arrays = {name: [None if x is None else np.float32([x, x / 3]) for x in pair] for name, pair in pairs.items()}
    return {keys[name]: compare(*pair, Tolerance(0.0, 0.0)) for name, pair in arrays.items()}


@given(size=st.floats(1e-6, 1e6), share=st.floats(-1, 1))
def test_up_to_the_root_of_eps_is_rounding(size: float, share: float) -> None:
    assert only_rounding(moved(large=(size, size * (1 + 0.9 * share * EPS**0.5))), EPS)
    beyond = 1.2 * EPS**0.5 * (1 if share > 0 else -1)
    assert not only_rounding(moved(large=(size, size * (1 + beyond))), EPS)


def test_a_gradient_of_rounding_is_measured_against_the_largest() -> None:
    assert only_rounding(moved(large=(1.0, 1.0), small=(1e-9, -1e-9)), EPS)
    assert not only_rounding(moved(large=(1.0, 1.0), small=(1e-4, -1e-4)), EPS)
    assert not only_rounding(moved(small=(1e-9, -1e-9)), EPS)


def test_a_value_is_measured_against_itself_and_no_gradient_against_it() -> None:
    assert not only_rounding(moved(large=(1.0, 1.0), value=(1e-9, -1e-9)), EPS)
    assert not only_rounding(moved(value=(1e6, 1e6), small=(1e-9, -1e-9)), EPS)


@pytest.mark.parametrize("pair", [(1.0, np.nan), (1.0, None), (None, 1.0), (1.0, np.inf), (0.0, 1.0)])
def test_what_has_no_finite_difference_is_more(pair: tuple[Any, Any]) -> None:
    assert not only_rounding(moved(small=pair), EPS)
    assert not only_rounding(moved(large=(1.0, 1.0), small=pair), EPS)


def test_the_same_is_rounding() -> None:
    assert only_rounding({}, EPS)
    assert only_rounding(moved(large=(0.0, 0.0), small=(None, None), value=(2.0, 2.0)), EPS)

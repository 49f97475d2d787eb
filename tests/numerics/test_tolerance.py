from __future__ import annotations

from dataclasses import FrozenInstanceError

import ml_dtypes
import numpy as np
import pytest

from gradcheck.numerics import (
    EXACT,
    PRECISIONS,
    Tolerance,
    ToleranceOverride,
    TolerancePolicy,
    lower_precision,
)

FLOATS = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("name", FLOATS)
def test_eps_is_the_gap_after_one(name: str) -> None:
    assert PRECISIONS[name].eps == float(ml_dtypes.finfo(FLOATS[name]).eps)


def test_defaults_are_the_contract() -> None:
    assert {name: PRECISIONS[name].rtol for name in FLOATS} == {
        "float64": 1e-11,
        "float32": 1e-5,
        "float16": 2.0**-9,
        "bfloat16": 2.0**-6,
    }
    assert {name: PRECISIONS[name].atol_eps for name in FLOATS} == {
        "float64": 16,
        "float32": 16,
        "float16": 2,
        "bfloat16": 2,
    }


def test_complex_numbers_are_as_precise_as_their_parts() -> None:
    assert PRECISIONS["complex128"] == PRECISIONS["float64"]
    assert PRECISIONS["complex64"] == PRECISIONS["float32"]


@pytest.mark.parametrize(
    ("a", "b", "lower"),
    [
        ("float64", "float32", "float32"),
        ("float32", "float16", "float16"),
        ("bfloat16", "float16", "bfloat16"),
        ("float32", "float32", "float32"),
        ("int32", "float64", "float64"),
        ("complex64", "float64", "complex64"),
    ],
)
def test_lower_precision_is_symmetric(a: str, b: str, lower: str) -> None:
    assert lower_precision(a, b) == lower
    assert lower_precision(b, a) == lower


def test_automatic_atol_follows_the_largest_element_and_the_coarser_dtype() -> None:
    assert Tolerance(1e-5, None).resolve("float32", 3.0) == (1e-5, 16 * 2.0**-23 * 3.0)
    assert Tolerance(1e-2, None, "float16").resolve("float32", 1.0) == (1e-2, 2 * 2.0**-10)
    assert Tolerance(1e-2, None, "float32").resolve("float16", 1.0) == (1e-2, 2 * 2.0**-10)


def test_explicit_numbers_are_used_as_given() -> None:
    assert Tolerance(0.5, 0.25, "float16").resolve("float32", 1e9) == (0.5, 0.25)
    assert Tolerance(0.0, 0.0).resolve("float32", 1e9) == (0.0, 0.0)


@pytest.mark.parametrize("dtype", ["int64", "uint32", "bool"])
def test_integers_and_bools_are_exact_whatever_was_asked_for(dtype: str) -> None:
    assert Tolerance(0.5, None).resolve(dtype, 7.0) == (0.0, 0.0)
    assert TolerancePolicy(0.5, 0.5, (ToleranceOverride("*", 1.0, 1.0),)).for_tensor("seed", dtype, "float32") == EXACT


def test_default_rtol_is_that_of_the_coarser_dtype() -> None:
    policy = TolerancePolicy()
    assert policy.for_tensor("a", "float32", "float32") == Tolerance(1e-5, None, "float32")
    assert policy.for_tensor("a", "float32", "bfloat16").rtol == 2.0**-6
    assert policy.for_tensor("a", "float16", "float32").rtol == 2.0**-9


def test_explicit_zero_is_not_mistaken_for_a_default() -> None:
    assert TolerancePolicy(rtol=0.0, atol=0.0).for_tensor("a", "float32", "float16") == Tolerance(0.0, 0.0, "float16")
    overridden = TolerancePolicy(1.0, 1.0, (ToleranceOverride("a", rtol=0.0, atol=0.0),))
    assert overridden.for_tensor("a", "float32", "float16") == Tolerance(0.0, 0.0, "float16")


def test_later_override_wins_and_keeps_what_it_leaves_out() -> None:
    policy = TolerancePolicy(
        atol=1e-3,
        overrides=(
            ToleranceOverride("conv_*/kernel", rtol=1e-4),
            ToleranceOverride("conv_1/*", rtol=1e-3, atol=0.5),
            ToleranceOverride("*/kernel", atol="auto"),
            ToleranceOverride("norm/*", rtol=0.25),
        ),
    )
    assert policy.for_tensor("conv_0/kernel", "float32", "float32") == Tolerance(1e-4, None, "float32")
    assert policy.for_tensor("conv_1/kernel", "float32", "float32") == Tolerance(1e-3, None, "float32")
    assert policy.for_tensor("conv_1/bias", "float32", "float32") == Tolerance(1e-3, 0.5, "float32")
    assert policy.for_tensor("norm/gamma", "float32", "float32") == Tolerance(0.25, 1e-3, "float32")
    assert policy.for_tensor("dense/bias", "float32", "float32") == Tolerance(1e-5, 1e-3, "float32")


def test_patterns_are_case_sensitive() -> None:
    policy = TolerancePolicy(overrides=(ToleranceOverride("Conv/*", rtol=1.0),))
    assert policy.for_tensor("conv/kernel", "float32", "float32").rtol == 1e-5
    assert policy.for_tensor("Conv/kernel", "float32", "float32").rtol == 1.0


def test_unmatched_names_only_patterns_that_match_nothing() -> None:
    overrides = tuple(map(ToleranceOverride, ("conv/*", "cnov/*", "*/bias")))
    assert TolerancePolicy(overrides=overrides).unmatched(iter(["conv/kernel", "conv/bias"])) == ("cnov/*",)
    assert TolerancePolicy(overrides=overrides).unmatched([]) == ("conv/*", "cnov/*", "*/bias")


def test_tolerances_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        EXACT.rtol = 1.0  # type: ignore[misc]

from __future__ import annotations

import keras
import pytest

from gradcheck.building.precision import compute_dtype, kept_precision, loss_dtype, precision_scope, widened


@pytest.mark.parametrize(
    ("precision", "floatx", "compute"),
    [
        ("float32", "float32", "float32"),
        ("float64", "float64", "float64"),
        ("float16", "float16", "float16"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("mixed_float16", "float32", "float16"),
        ("mixed_bfloat16", "float32", "bfloat16"),
    ],
)
def test_layers_made_inside_have_the_precision(precision: str, floatx: str, compute: str) -> None:
    with precision_scope(precision):
        layer = keras.layers.Dense(1)
        layer.build((None, 2))
        assert keras.Input((2,)).dtype == floatx
    assert (layer.kernel.dtype, layer.compute_dtype) == (floatx, compute)
    assert compute_dtype(precision) == compute


def test_what_was_set_before_is_put_back_even_after_an_error() -> None:
    before = keras.config.floatx(), keras.config.dtype_policy().name
    with pytest.raises(RuntimeError), precision_scope("mixed_float16"):
        raise RuntimeError
    with kept_precision():
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        keras.utils.clear_session(free_memory=False)
    assert (keras.config.floatx(), keras.config.dtype_policy().name) == before


def test_a_float64_twin_has_nothing_narrower() -> None:
    assert [widened(d) for d in ("float16", "float32", "int32")] == ["float16", "float32", "int32"]
    with precision_scope("float64"):
        assert [widened(d) for d in ("float16", "float32", "int32")] == ["float64", "float64", "int32"]
        assert loss_dtype() == "float64"
    with precision_scope("bfloat16"):
        assert loss_dtype() == "float32"

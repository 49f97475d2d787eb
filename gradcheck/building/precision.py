"""The precision of a config, as Keras's floatx and dtype policy."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOATING = frozenset({"float16", "bfloat16", "float32", "float64"})
_MIXED = "mixed_"


def compute_dtype(precision: str) -> str:
    """Return the dtype in which layers compute: `float16` for `mixed_float16`."""
    return precision.removeprefix(_MIXED)


def variable_dtype(precision: str) -> str:
    """Return the dtype of weights and inputs, Keras's floatx: `float32` for `mixed_float16`."""
    return "float32" if precision.startswith(_MIXED) else precision


@contextmanager
def precision_scope(precision: str) -> Iterator[None]:
    """Set floatx and the dtype policy inside, and restore both.

    Args:
        precision: float32, float64, float16, bfloat16, mixed_float16 or mixed_bfloat16.

    `keras.utils.clear_session` resets the policy: call it before entering, not inside.
    """
    with kept_precision():
        keras.config.set_floatx(variable_dtype(precision))
        keras.config.set_dtype_policy(precision)
        yield


@contextmanager
def kept_precision() -> Iterator[None]:
    """Restore floatx and the dtype policy afterwards, however they are changed inside."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def widened(dtype: str) -> str:
    """Return `dtype`, which a config names; float64 in place of any floating dtype if that is the precision.

    A float64 twin of a model is exact only if nothing in it is narrower, whatever the config sets for single tensors.
    """
    return "float64" if dtype in FLOATING and keras.config.floatx() == "float64" else dtype


def loss_dtype() -> str:
    """Return the dtype of targets and losses: float64 if that is the precision, else float32.

    It is never lower: class ids above 256 are not exact in bfloat16, and a sum in 16 bits loses the digits to be
    compared.
    """
    return "float64" if keras.config.floatx() == "float64" else "float32"

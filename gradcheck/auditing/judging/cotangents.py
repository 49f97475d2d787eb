"""Wrong cotangents by name: what was handed over in the place of the right one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.judging.changes import NEAR
from gradcheck.auditing.judging.weights import is_scale
from gradcheck.diagnose.wording import named

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck.results.report import Diagnosis

Array = np.ndarray[Any, Any]


def near(a: Array | None, b: Array | None) -> bool:
    """Whether two arrays are equal but for rounding."""
    if a is None or b is None or a.shape != b.shape:
        return False
    return float(np.abs(a - b).max(initial=0)) <= NEAR * max(float(np.abs(b).max(initial=0)), 1e-30)


def wrong_cotangent(  # noqa: C901, PLR0911 - one branch for each mistake
    c: Array,
    s: Array,
    at: object,
    *,
    where: str | None = None,
    others: Iterable[Array] = (),
    earlier: Iterable[Array] = (),
    examples: int = 1,
) -> Diagnosis | None:
    """Name what was handed over as `s` where `c` is right; None if no known mistake gives it.

    Args:
        c: the cotangent of a boundary tensor.
        s: the seed that was used for it, of the same number of axes.
        at: the line, for the text.
        where: the boundary, for the diagnosis.
        others: the cotangents of the other boundary tensors of this step.
        earlier: those of the steps before.
        examples: the number of elements that a loss is the mean of, at most.
    """
    if near(s, -c):
        return named("GC504", f"the cotangent handed over at {at} has the opposite sign", where=where)
    if s.shape == c.shape and c.ndim and any(near(s, np.broadcast_to(m, c.shape)) for m in _reduced(c)):
        return named("GC103", f"the cotangent at {at} was reduced over the batch and spread again", where=where)
    if any(near(s, other) for other in others):
        return named("GC106", f"the cotangents of two boundary tensors are swapped at {at}", where=where)
    if not s.any():
        return named("GC105", f"one cotangent handed over at {at} is zero", where=where)
    for dtype in ("float16", "bfloat16"):
        if np.array_equal(s.astype(np.float32), _rounded(c, dtype).astype(np.float32)):
            return named("GC104", f"the cotangent at {at} was rounded to {dtype}", where=where)
    if any(near(s, other) for other in earlier):
        return named("GC305", f"the cotangent handed over at {at} is that of an earlier step", where=where)
    if s.shape != c.shape:
        return None
    factor = float(np.vdot(s, c) / (np.vdot(c, c) or 1))
    if factor and near(s, factor * c):
        scale = is_scale(factor, examples) or is_scale(1 / factor, 1)
        code, shown = ("GC503", f"{factor:g}") if scale else ("GC900", f"{factor:.4g}")
        return named(code, f"the cotangent handed over at {at} is {shown} times what it should be", where=where)
    if np.abs(s - c).max() < 2.0**-7 * np.abs(c).max():
        text = f"the cotangent at {at} differs as if it had been rounded"
        return named("GC104", text, where=where, confidence="likely")
    return None


def _reduced(c: Array) -> Iterator[Array]:
    yield c.mean(axis=0, keepdims=True)
    yield c.sum(axis=0, keepdims=True)
    yield np.asarray(c.mean())
    yield np.asarray(c.sum())


def _rounded(c: Array, dtype: str) -> Array:
    return np.asarray(tf.cast(tf.cast(tf.constant(c.astype(np.float32)), dtype), tf.float64))

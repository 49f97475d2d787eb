"""The comparison of two arrays, in one pass over both, a block at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck.numerics.elements import absolute_error, blocks, ulp_distance
from gradcheck.numerics.size import euclidean_norm
from gradcheck.results.tensor import Comparison, Required, Worst

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.elements import Array, Magnitude


class _Block(NamedTuple):
    """One block's figures: maxima with the place of the first, a count, and the inner products ⟨r,r⟩, ⟨c,c⟩, ⟨r,c⟩."""

    error: float
    place: int
    failing: int
    ulps: float = math.nan
    rtol: float = math.nan
    rr: float = math.nan
    cc: float = math.nan
    rc: float = math.nan


class _Angle(NamedTuple):
    """Reference and candidate as vectors: the cosine of their angle, and their 2-norms."""

    cosine: float = math.nan
    norm_ratio: float = math.nan
    reference_norm: float = math.nan
    candidate_norm: float = math.nan


def measure(
    reference: Array,
    candidate: Array,
    sizes: tuple[Magnitude, Magnitude],
    tolerance: tuple[float, float],
    block: int,
    *,
    brief: bool = False,
) -> Comparison:
    """Compare two arrays that differ somewhere, or are not finite.

    Args:
        reference: any shape, not empty; a real dtype.
        candidate: the same shape and dtype.
        sizes: the magnitudes of the two.
        tolerance: rtol and atol.
        block: elements per block.
        brief: whether to leave out ULPs, angle and the required rtol, which take two thirds of the time.
    """
    units = None if brief else (sizes[0].largest or 1.0, sizes[1].largest or 1.0)
    finite = sizes[0].finite and sizes[1].finite
    pairs = zip(blocks(reference, block), blocks(candidate, block), strict=True)
    with np.errstate(all="ignore"):
        parts = [_measure_block(r, c, units, tolerance, finite=finite) for r, c in pairs]
        leading = int(np.argmax([part.error for part in parts]))  # NumPy's maxima, unlike Python's, let a NaN win
        # argmax returns the first maximum, here and in each block: the worst element does not depend on the block size.
        error = parts[leading].error
        relative = np.float64(error) / sizes[0].largest if error else 0.0
        angle = _angle(parts, units) if finite and units else _Angle()
    failing = sum(part.failing for part in parts)
    return Comparison(
        shape=reference.shape,
        dtype=reference.dtype.name,
        status="nonfinite" if not finite else "mismatch" if failing else "close",
        allclose=not failing,
        elements=reference.size,
        mismatched_elements=failing,
        rtol=tolerance[0],
        atol=tolerance[1],
        max_abs_error=error,
        max_abs_reference=sizes[0].largest,
        max_rel_error=float(relative),
        max_ulp_error=math.nan if math.isnan(error) else float(max(part.ulps for part in parts)),
        **angle._asdict(),
        required=Required(
            rtol=float(np.max([part.rtol for part in parts])), atol=error if math.isfinite(error) else math.nan
        ),
        worst=_element(reference, candidate, leading * block + parts[leading].place) if error else None,
    )


def equal(array: Array, size: Magnitude, tolerance: tuple[float, float]) -> Comparison:
    """Return the comparison of `array` with a bitwise equal one; both are finite, of magnitude `size`."""
    aligned, norm = 1.0 if size.largest else math.nan, euclidean_norm([array])
    return Comparison(
        shape=array.shape,
        dtype=array.dtype.name,
        status="exact",
        allclose=True,
        elements=array.size,
        mismatched_elements=0,
        rtol=tolerance[0],
        atol=tolerance[1],
        max_abs_error=0.0,
        max_abs_reference=size.largest,
        max_rel_error=0.0,
        max_ulp_error=0.0,
        cosine=aligned,
        norm_ratio=aligned,
        reference_norm=norm,
        candidate_norm=norm,
        required=Required(rtol=0.0, atol=0.0),
    )


def _measure_block(
    r: Array, c: Array, units: tuple[float, float] | None, tolerance: tuple[float, float], *, finite: bool
) -> _Block:
    """Measure one block, 1-D. The vectors are divided by `units`, their largest elements; in brief without them."""
    rtol, atol = tolerance
    error, size = absolute_error(r, c), np.abs(r.astype(np.float64, copy=False))
    passing = error <= atol + rtol * size
    if not finite:
        passing &= np.isfinite(r) & np.isfinite(c)
    place = int(np.argmax(error))
    found = _Block(float(error[place]), place, error.size - int(np.count_nonzero(passing)))
    if units is None:
        return found
    # Squares of float64 gradients may overflow or underflow, so the inner products are those of scaled vectors.
    x, y = r.astype(np.float64), c.astype(np.float64)
    x /= units[0]
    y /= units[1]
    return found._replace(
        ulps=int(ulp_distance(r, c).max()),
        rtol=_required_rtol(error, size),
        rr=float(x @ x),
        cc=float(y @ y),
        rc=float(x @ y),
    )


def _required_rtol(error: NDArray[np.float64], size: NDArray[np.float64]) -> float:
    """Return the smallest t with error ≤ t·size for all elements, in floating-point arithmetic; NaN if none."""
    zero = size == 0
    if np.any(error[zero]):
        return math.nan
    needed = np.max(np.divide(error, size, out=np.zeros_like(error), where=~zero))
    # The quotient is rounded, so the product may fall just short of the error: the next number is then enough.
    if np.any(error > needed * size):
        needed = np.nextafter(needed, np.inf)
    return float(needed) if np.isfinite(needed) else math.nan


def _angle(parts: list[_Block], units: tuple[float, float]) -> _Angle:
    """Return the two as vectors, from the inner products of the blocks."""
    rr, cc, rc = (np.float64(sum(products)) for products in zip(*(part[-3:] for part in parts), strict=True))
    # Rounding can give 1 + eps for parallel vectors.
    cosine = np.clip(rc / np.sqrt(rr * cc), -1.0, 1.0)
    return _Angle(
        cosine=float(cosine),
        norm_ratio=float(np.sqrt(cc / rr) * (units[1] / units[0])),
        reference_norm=float(np.sqrt(rr) * units[0]),
        candidate_norm=float(np.sqrt(cc) * units[1]),
    )


def _element(reference: Array, candidate: Array, position: int) -> Worst:
    """Return the element at `position` in C order."""
    index = tuple(int(i) for i in np.unravel_index(position, reference.shape))
    return Worst(index=index, reference=float(reference[index]), candidate=float(candidate[index]))

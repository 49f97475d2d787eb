"""The figures behind a comparison, in one pass over two arrays, a block at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck.numerics.elements import absolute_error, blocks, ulp_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.elements import Array, Magnitude


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The element with the largest absolute difference, the first of several; non-finite differences rank above all."""

    index: tuple[int, ...]
    reference: float
    candidate: float


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How far a candidate c is from its reference r. NaN: the figure could not be computed.

    Attributes:
        mismatched_elements: the number of elements that fail |c - r| ≤ atol + rtol·|r|; NaN or infinity on either side
            always fails.
        max_abs_error: max|c - r|, in float64.
        max_rel_error: max|c - r| / max|r|; 0 if both tensors are zero, infinity if only the reference is.
        max_ulp_error: the largest distance in units in the last place of the tensor's own dtype; for integers the plain
            difference. It shows errors in small elements, which an absolute tolerance hides.
        cosine: cosine of the angle between the two as vectors; NaN if one is zero.
        norm_ratio: ‖c‖ / ‖r‖, Euclidean; NaN if both are zero, infinity if only the reference is.
        required_rtol: the smallest rtol that would pass with atol 0; NaN if none would, as where an element differs
            from a zero reference.
        required_atol: the smallest atol that would pass with rtol 0; NaN if none would.
        worst: None where no element differs, or nothing could be compared.
    """

    mismatched_elements: int
    max_abs_error: float = math.nan
    max_rel_error: float = math.nan
    max_ulp_error: float = math.nan
    cosine: float = math.nan
    norm_ratio: float = math.nan
    required_rtol: float = math.nan
    required_atol: float = math.nan
    worst: Worst | None = None


class _Block(NamedTuple):
    """One block's figures: maxima with the place of the first, a count, and the inner products ⟨r,r⟩, ⟨c,c⟩, ⟨r,c⟩."""

    error: float
    place: int
    failing: int
    ulps: int
    rtol: float
    rr: float
    cc: float
    rc: float


def measure(
    reference: Array,
    candidate: Array,
    sizes: tuple[Magnitude, Magnitude],
    tolerance: tuple[float, float],
    block: int,
) -> Figures:
    """Return the figures of two arrays that differ somewhere, or are not finite.

    Args:
        reference: any shape, not empty; a real dtype.
        candidate: the same shape and dtype.
        sizes: the magnitudes of the two.
        tolerance: rtol and atol.
        block: elements per block.
    """
    units = (sizes[0].largest or 1.0, sizes[1].largest or 1.0)
    finite = sizes[0].finite and sizes[1].finite
    pairs = zip(blocks(reference, block), blocks(candidate, block), strict=True)
    with np.errstate(all="ignore"):
        parts = [_measure_block(r, c, units, tolerance) for r, c in pairs]
        leading = int(np.argmax([part.error for part in parts]))  # NumPy's maxima, unlike Python's, let a NaN win
        # argmax returns the first maximum, here and in each block: the worst element does not depend on the block size.
        error = parts[leading].error
        relative = np.float64(error) / sizes[0].largest if error else 0.0
        cosine, norm_ratio = _angle_and_ratio(parts, units) if finite else (math.nan, math.nan)
    return Figures(
        mismatched_elements=sum(part.failing for part in parts),
        max_abs_error=error,
        max_rel_error=float(relative),
        max_ulp_error=math.nan if math.isnan(error) else float(max(part.ulps for part in parts)),
        cosine=cosine,
        norm_ratio=norm_ratio,
        required_rtol=float(np.max([part.rtol for part in parts])),
        required_atol=error if math.isfinite(error) else math.nan,
        worst=_element(reference, candidate, leading * block + parts[leading].place) if error else None,
    )


def equal_figures(size: Magnitude) -> Figures:
    """Return the figures of two bitwise equal, finite arrays of magnitude `size`."""
    aligned = 1.0 if size.largest else math.nan
    return Figures(
        mismatched_elements=0,
        max_abs_error=0.0,
        max_rel_error=0.0,
        max_ulp_error=0.0,
        cosine=aligned,
        norm_ratio=aligned,
        required_rtol=0.0,
        required_atol=0.0,
    )


def _measure_block(r: Array, c: Array, units: tuple[float, float], tolerance: tuple[float, float]) -> _Block:
    """Measure one block, 1-D. The vectors are divided by `units`, their largest elements."""
    rtol, atol = tolerance
    x, y = r.astype(np.float64), c.astype(np.float64)
    error, size = absolute_error(r, c), np.abs(x)
    passing = (error <= atol + rtol * size) & np.isfinite(x) & np.isfinite(y)
    place = int(np.argmax(error))
    # Squares of float64 gradients may overflow or underflow, so the inner products are those of scaled vectors.
    x /= units[0]
    y /= units[1]
    return _Block(
        error=float(error[place]),
        place=place,
        failing=error.size - int(np.count_nonzero(passing)),
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


def _angle_and_ratio(parts: list[_Block], units: tuple[float, float]) -> tuple[float, float]:
    """Return the cosine, and ‖c‖ / ‖r‖, from the inner products of the blocks."""
    rr, cc, rc = (np.float64(sum(products)) for products in zip(*(part[-3:] for part in parts), strict=True))
    # Rounding can give 1 + eps for parallel vectors.
    cosine = np.clip(rc / np.sqrt(rr * cc), -1.0, 1.0)
    return float(cosine), float(np.sqrt(cc / rr) * (units[1] / units[0]))


def _element(reference: Array, candidate: Array, position: int) -> Worst:
    """Return the element at `position` in C order."""
    index = tuple(int(i) for i in np.unravel_index(position, reference.shape))
    return Worst(index=index, reference=float(reference[index]), candidate=float(candidate[index]))

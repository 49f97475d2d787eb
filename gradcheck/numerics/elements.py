"""Bits, magnitude and distance of the elements of arrays, a block at a time, in bounded memory.

A floating-point number is a sign and a magnitude, and magnitudes sort as the integers of their bits do (IEEE 754). So
equality, the largest magnitude and ULP distances are integer operations, without a float64 copy, for every dtype with
this layout, bfloat16 included.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

#: Elements per block: a float64 temporary of this many stays in the cache, and below the size (128 KiB) from which
#: glibc maps fresh pages for every allocation, which costs three times the arithmetic.
BLOCK = 2**13


def blocks(array: Array, size: int = BLOCK) -> Iterator[Array]:
    """Yield `array` in C order as 1-D pieces of `size` elements: views where it is contiguous, else small copies."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
    for start in range(0, array.size, size):
        yield flat[start : start + size]


def is_integral(array: Array) -> bool:
    """Whether the elements are integers or booleans, which are compared exactly."""
    return array.dtype.kind in "iub"


def same_bits(a: Array, b: Array, size: int = BLOCK) -> bool:
    """Whether two arrays of one shape and dtype are bitwise equal; NaN equals itself, +0 and -0 differ."""
    word = f"u{a.dtype.itemsize}"
    pairs = zip(blocks(a, size), blocks(b, size), strict=True)
    return all(np.array_equal(x.view(word), y.view(word)) for x, y in pairs)


def digest(array: Array) -> str:
    """Return a hash of the elements in C order, in hexadecimal digits; shape and dtype are not part of it."""
    text = array.dtype.kind in "OSU"  # whose bytes are addresses, or padded
    held = repr(array.tolist()).encode() if text else np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return hashlib.sha256(held).hexdigest()


@dataclass(frozen=True)
class Magnitude:
    """The largest absolute value among the finite elements (0 if there are none), and whether all are finite."""

    largest: float
    finite: bool


def magnitude(array: Array, size: int = BLOCK) -> Magnitude:
    """Return the magnitude of `array`."""
    if is_integral(array):
        # Through Python integers: in NumPy abs(-128) of an int8 is -128 again.
        extremes = [abs(int(end)) for block in blocks(array, size) for end in (block.min(), block.max())]
        return Magnitude(float(max(extremes, default=0)), finite=True)
    word = np.dtype(f"u{array.dtype.itemsize}")
    infinity = np.array(np.inf).astype(array.dtype).view(word)
    # Every bit but the sign.
    unsigned = word.type(np.iinfo(word).max >> 1)
    largest, finite = word.type(0), True
    for block in blocks(array, size):
        bits = block.view(word) & unsigned
        top = bits.max()
        if top >= infinity:
            finite = False
            top = bits[bits < infinity].max(initial=0)
        largest = max(largest, top)
    return Magnitude(float(np.array(largest, word).view(array.dtype)), finite)


def ulp_distance(a: Array, b: Array) -> Array:
    """Return, as unsigned integers, the distance of `a` from `b` per element in units in the last place (ULP).

    This is the number of steps from one representable number to the next between the two. Both arrays have one shape
    and one dtype; for integers it is the plain difference. +0 and -0 are 0 apart, the largest finite number and
    infinity 1; nothing overflows. The distance to a NaN has no meaning.
    """
    x, y = _ordinals(a), _ordinals(b)
    # The difference of two signed integers always fits the unsigned one, where wrapping around makes it right.
    distance: Array = (np.maximum(x, y) - np.minimum(x, y)).view(f"u{a.dtype.itemsize}")
    return distance


def _ordinals(array: Array) -> Array:
    """Return integers in the order of the elements, 1 apart for neighbours; both zeros are 0."""
    if array.dtype.kind in "iu":
        return array
    bits = array.view(f"i{array.dtype.itemsize}")
    # From sign and magnitude to two's complement: where the sign is set, flip the magnitude and add one.
    sign = bits >> (8 * array.dtype.itemsize - 1)  # 0 or -1
    ordinals: Array = (bits ^ (sign & np.iinfo(bits.dtype).max)) - sign
    return ordinals


def absolute_error(reference: Array, candidate: Array) -> NDArray[np.float64]:
    """Return |candidate - reference| in float64; integers are subtracted before they are rounded to float64."""
    if is_integral(reference):
        return ulp_distance(reference, candidate).astype(np.float64)
    error: NDArray[np.float64] = np.subtract(candidate, reference, dtype=np.float64)
    return np.abs(error, out=error)


def real_parts(array: Array) -> Array:
    """Return complex numbers as pairs (real, imaginary) along a new last axis; any other array unchanged."""
    if array.dtype.kind != "c":
        return array
    return np.asarray(array, order="C")[..., np.newaxis].view(array.real.dtype)

"""The noise floor: how far the reference itself moves when weights and inputs are perturbed by rounding alone.

Some gradients are zero up to rounding, and deep networks with random weights amplify rounding by orders of magnitude,
so that no fixed tolerance fits both. A candidate need not be closer to the reference than the reference is to itself.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.numerics.elements import BLOCK, absolute_error, blocks, real_parts
from gradcheck.numerics.sparse import SparseRows, align, to_array
from gradcheck.results.tensor import NOISE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.numerics.comparison import Tensor
    from gradcheck.results.tensor import Comparison

#: How many times a computation is run again to measure its noise floor.
NOISE_RUNS = 3


def movement(reference: Tensor | None, moved: Tensor | None, *, block: int = BLOCK) -> float:
    """Return the largest finite |moved - reference|, in float64; 0 where either is None.

    Args:
        reference: a tensor of the reference; any shape and dtype that `compare` takes.
        moved: the same tensor of a perturbed run; the same shape.
        block: elements per block.

    Raises:
        ValueError: if the shapes differ: then `moved` is another tensor, and the distance has no meaning.
    """
    if reference is None or moved is None:
        return 0.0
    if tuple(reference.shape) != tuple(moved.shape):
        raise ValueError(f"movement compares two runs of one tensor. Received: {reference.shape}, {moved.shape}")
    if isinstance(reference, SparseRows) and isinstance(moved, SparseRows):
        _, before, after = align(reference, moved)
    else:
        before, after = to_array(reference), to_array(moved)
    largest = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for r, c in zip(blocks(real_parts(before), block), blocks(real_parts(after), block), strict=True):
            # A movement to or from NaN or infinity does not count: as a floor it would excuse any candidate.
            error = absolute_error(r, c)
            largest = max(largest, float(error.max(initial=0.0, where=np.isfinite(error))))
    return largest


def excuse(comparison: Comparison, floor: float) -> Comparison:
    """Return `comparison` with its noise floor; a mismatch within `NOISE_FACTOR` floors becomes `close`.

    Only a mismatch of finite values does: where shapes or dtypes differ there is no error to compare with the floor.
    `allclose` and the figures are unchanged.
    """
    error = comparison.max_abs_error
    within = comparison.status == "mismatch" and math.isfinite(error) and error <= NOISE_FACTOR * floor
    return replace(comparison, noise_floor=floor, status="close" if within else comparison.status)


def median_relative_floor(floors: Iterable[tuple[float, float]]) -> float:
    """Return the median of floor / max|reference| over pairs of the two: how large a fault may hide in noise."""
    relative = [floor / size for floor, size in floors if 0 < size < math.inf]
    return statistics.median(relative) if relative else 0.0

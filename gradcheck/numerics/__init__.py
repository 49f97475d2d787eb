"""Comparison of two tensors, tolerances, the noise floor, and derivatives by finite differences, in NumPy alone.

Nothing here knows of models or of TensorFlow: a gradient is an array, a `SparseRows` or None.
"""

from gradcheck.numerics.comparison import IN_REFERENCE, Tensor, compare
from gradcheck.numerics.differences import Derivative, derivative, noise_level, noise_points
from gradcheck.numerics.elements import digest, real_parts, ulp_distance
from gradcheck.numerics.error_bars import decide, too_coarse
from gradcheck.numerics.noise import NOISE_RUNS, excuse, median_relative_floor, movement
from gradcheck.numerics.size import euclidean_norm, is_zero, largest, largest_finite
from gradcheck.numerics.sparse import SparseRows, bytes_of, to_array, to_vector
from gradcheck.numerics.spread import with_spread
from gradcheck.numerics.standing import Standing, convicts, nearest_slope, standing
from gradcheck.numerics.tolerance import (
    EXACT,
    PRECISIONS,
    Precision,
    Tolerance,
    ToleranceOverride,
    TolerancePolicy,
    lower_precision,
)
from gradcheck.results.tensor import NOISE_FACTOR

__all__ = [
    "EXACT",
    "IN_REFERENCE",
    "NOISE_FACTOR",
    "NOISE_RUNS",
    "PRECISIONS",
    "Derivative",
    "Precision",
    "SparseRows",
    "Standing",
    "Tensor",
    "Tolerance",
    "ToleranceOverride",
    "TolerancePolicy",
    "bytes_of",
    "compare",
    "convicts",
    "decide",
    "derivative",
    "digest",
    "euclidean_norm",
    "excuse",
    "is_zero",
    "largest",
    "largest_finite",
    "lower_precision",
    "median_relative_floor",
    "movement",
    "nearest_slope",
    "noise_level",
    "noise_points",
    "real_parts",
    "standing",
    "to_array",
    "to_vector",
    "too_coarse",
    "ulp_distance",
    "with_spread",
]

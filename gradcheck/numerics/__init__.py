"""Pure NumPy: how two tensors are compared, and how much they may differ.

Nothing here knows of models or of TensorFlow: gradients come in as arrays, as `SparseRows`, or as None.
"""

from gradcheck.numerics.comparison import Comparison, Status, Tensor, compare
from gradcheck.numerics.elements import ulp_distance
from gradcheck.numerics.figures import Figures, Worst
from gradcheck.numerics.noise import NOISE_FACTOR, excuse, median_relative_floor, movement
from gradcheck.numerics.size import euclidean_norm, largest
from gradcheck.numerics.sparse import SparseRows
from gradcheck.numerics.tolerance import (
    AUTO_ATOL_EPS,
    EXACT,
    PRECISIONS,
    Precision,
    Tolerance,
    ToleranceOverride,
    TolerancePolicy,
    lower_precision,
)

__all__ = [
    "AUTO_ATOL_EPS",
    "EXACT",
    "NOISE_FACTOR",
    "PRECISIONS",
    "Comparison",
    "Figures",
    "Precision",
    "SparseRows",
    "Status",
    "Tensor",
    "Tolerance",
    "ToleranceOverride",
    "TolerancePolicy",
    "Worst",
    "compare",
    "euclidean_norm",
    "excuse",
    "largest",
    "lower_precision",
    "median_relative_floor",
    "movement",
    "ulp_distance",
]

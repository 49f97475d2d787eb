"""Frozen records of the comparison of two tensors: its status, and the figures behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Status = Literal["exact", "close", "mismatch", "nonfinite", "missing", "absent", "dead", "inconclusive"]

#: A difference of at most this many noise floors is excused: a few perturbed runs do not find the largest movement.
NOISE_FACTOR = 4
#: An error bar is small enough if it is at most this share of the tensor's largest element: a fault of one per cent is
#: then ten bars.
DECISIVE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Worst:
    """The element with the largest absolute difference, the first of several; non-finite differences rank first."""

    index: tuple[int, ...]
    reference: float
    candidate: float


@dataclass(frozen=True, kw_only=True)
class Required:
    """The smallest rtol and the smallest atol that would pass, each with the other set to 0.

    NaN if none would pass, such as the rtol if an element differs from a reference of zero.
    """

    rtol: float = math.nan
    atol: float = math.nan


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The errors of a failing tensor in brief; of a fixed size, however large the tensor is.

    Attributes:
        edges: the bounds of the bins of |c - r|, powers of two; one more than `counts`, at most 17.
        counts: the number of elements in each bin, with edges[i] ≤ |c - r| < edges[i + 1].
        equal: the number of elements that do not differ.
        nonfinite: the number of elements that are NaN or infinite on either side.
        reference, candidate: the values of at most 64 elements, in C order: those with the largest errors, and others
            at even distances.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    equal: int
    nonfinite: int
    reference: tuple[float, ...]
    candidate: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of a candidate c with its reference r. A figure is NaN if it could not be computed.

    Attributes:
        shape, dtype: those of the reference, or of the candidate if the reference is None.
        status: `exact` bitwise equal · `close` within the tolerance, or excused by the noise floor · `mismatch` ·
            `nonfinite` NaN or infinity on either side · `missing` None on one side · `absent` None on both · `dead`
            zero on both · `inconclusive` the error bars are too large to decide.
        allclose: as `numpy.allclose`: |c - r| ≤ atol + rtol·|r| for every element, all of them finite. True for an
            absent tensor, as for an empty one.
        max_abs_error: max|c - r|, in float64.
        max_abs_reference: max|r| over the finite elements.
        max_rel_error: max|c - r| / max|r|; 0 if both tensors are zero, infinity if only the reference is.
        max_ulp_error: the largest distance in units in the last place of the tensor's own dtype; for integers the plain
            difference. It shows errors in small elements, which an absolute tolerance hides.
        cosine: cosine of the angle between the two as vectors; NaN if one is zero.
        norm_ratio: ‖c‖ / ‖r‖, Euclidean; NaN if both are zero, infinity if only the reference is.
        reference_norm, candidate_norm: ‖r‖ and ‖c‖, Euclidean; of a tensor that one side lacks, that of the other.
        noise_floor: the largest change of the reference by rounding alone; None if it was not measured.
        elements: the number of elements of the dense tensor; a complex number counts as two.
        mismatched_elements: the number of elements that fail |c - r| ≤ atol + rtol·|r|; NaN or infinity on either side
            always fails.
        worst: the worst element; None if no element differs, or nothing could be compared.
        rtol, atol: the tolerance that was applied; an automatic atol as its number.
        required: the smallest tolerances that would pass.
        spread: the errors in brief, of a failing tensor that a report lists; None of any other.
        note: why the tensors could not be compared, or another remark for the reader.
    """

    shape: tuple[int, ...]
    dtype: str
    status: Status
    allclose: bool
    max_abs_error: float = math.nan
    max_abs_reference: float = math.nan
    max_rel_error: float = math.nan
    max_ulp_error: float = math.nan
    cosine: float = math.nan
    norm_ratio: float = math.nan
    reference_norm: float = math.nan
    candidate_norm: float = math.nan
    noise_floor: float | None = None
    elements: int
    mismatched_elements: int
    worst: Worst | None = None
    rtol: float
    atol: float
    required: Required = Required()
    spread: Spread | None = None
    note: str | None = None

    @property
    def within_rounding(self) -> bool:
        """Whether it is `close` only because its difference is rounding: then `max_rel_error` says little.

        Its noise floor covers the difference; or an error bar does, of a reference that is zero but for rounding: that
        of any other is at most `DECISIVE` of it.
        """
        excused = self.status == "close" and not self.allclose
        return excused and (self.noise_floor is not None or self.max_rel_error > DECISIVE)

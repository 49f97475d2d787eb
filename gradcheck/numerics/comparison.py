"""Compare one tensor of the reference with the same tensor of a candidate: a status, and the figures behind it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from gradcheck.errors import RunError
from gradcheck.numerics.elements import BLOCK, Array, is_integral, magnitude, real_parts, same_bits
from gradcheck.numerics.figures import Figures, equal_figures, measure
from gradcheck.numerics.sparse import SparseRows, align, to_array
from gradcheck.numerics.tolerance import PRECISIONS, Tolerance

Status = Literal["exact", "close", "mismatch", "nonfinite", "missing", "absent", "dead", "inconclusive"]
Tensor: TypeAlias = "Array | SparseRows"


@dataclass(frozen=True, kw_only=True)
class Comparison(Figures):
    """The result of comparing two tensors: the status, the tolerance that was applied, and the figures.

    Attributes:
        status: `exact` bitwise equal · `close` within the tolerance, or excused by the noise floor · `mismatch` ·
            `nonfinite` NaN or infinity on either side · `missing` None on one side · `absent` None on both · `dead`
            zero on both · `inconclusive` where the error bars are too large to decide (`error_bars.decide`).
        allclose: as `numpy.allclose`: |c - r| ≤ atol + rtol·|r| for every element, all of them finite. True for an
            absent tensor, as for an empty one.
        elements: the number of elements of the dense tensor; a complex number counts as two.
        rtol, atol: the tolerance that was applied; an automatic atol as the number that it came to.
        max_abs_reference: max|r| over the finite elements.
        noise_floor: how far rounding alone moves the reference; None where that was not measured.
        note: why the tensors could not be compared, or another remark for the reader.
        shape, dtype: of the reference; of the candidate where there is no reference.
    """

    status: Status
    allclose: bool
    elements: int
    rtol: float
    atol: float
    max_abs_reference: float = math.nan
    noise_floor: float | None = None
    note: str | None = None
    shape: tuple[int, ...]
    dtype: str


#: The note on a tensor that only the candidate has.
IN_REFERENCE = "None in the reference"


def compare(
    reference: Tensor | None,
    candidate: Tensor | None,
    tolerance: Tolerance,
    *,
    gradient: bool = True,
    block: int = BLOCK,
) -> Comparison:
    """Compare a tensor of the reference with the same tensor of a candidate.

    Args:
        reference: any shape; a float (bfloat16 too), complex, integer or bool dtype; None where there is no gradient.
        candidate: the same tensor, computed by another method.
        tolerance: the largest difference that is `close`. Integers and bools must be equal.
        gradient: whether zero on both sides is `dead`, for it proves nothing. False for outputs, loss and state, where
            zero is as good a value as any.
        block: elements per block; the extra memory is a few dozen bytes for each of these, however large the tensors.

    Raises:
        RunError: for any other dtype.
    """
    if reference is None or candidate is None:
        return _one_sided(reference, candidate, tolerance)
    reason = _unlike(reference, candidate)
    if reason is not None:
        return _incomparable("mismatch", reference, tolerance, reason)
    if isinstance(reference, SparseRows) and isinstance(candidate, SparseRows):
        return _compare_sparse(reference, candidate, tolerance, gradient=gradient, block=block)
    return _compare_dense(to_array(reference), to_array(candidate), tolerance, gradient=gradient, block=block)


def _compare_dense(
    reference: Array, candidate: Array, tolerance: Tolerance, *, gradient: bool, block: int
) -> Comparison:
    """Compare two arrays of one shape and dtype."""
    dtype = reference.dtype.name
    if dtype not in PRECISIONS and not is_integral(reference):
        raise RunError(f"tensors of this dtype cannot be compared. Received: {dtype}", help="cast to a float dtype")
    r, c = real_parts(reference), real_parts(candidate)

    # Bitwise equal tensors need no further arithmetic, and no float64 copies.
    same = same_bits(r, c, block)
    # Bitwise equal is not yet `exact`: two NaNs with the same bits are equal too.
    r_size = magnitude(r, block)
    c_size = r_size if same else magnitude(c, block)
    finite = r_size.finite and c_size.finite
    rtol, atol = tolerance.resolve(dtype, r_size.largest)
    figures = equal_figures(r_size) if same and finite else measure(r, c, (r_size, c_size), (rtol, atol), block)
    allclose = figures.mismatched_elements == 0

    # The order matters: a non-finite gradient is never called dead, and a dead one never exact.
    status: Status = "close" if allclose else "mismatch"
    if not finite:
        status = "nonfinite"
    elif gradient and r_size.largest == c_size.largest == 0:
        status = "dead"
    elif same:
        status = "exact"
    return Comparison(
        status=status,
        allclose=allclose,
        elements=r.size,
        rtol=rtol,
        atol=atol,
        max_abs_reference=r_size.largest,
        note="complex: real and imaginary parts, as a last axis" if reference.dtype.kind == "c" else None,
        shape=reference.shape,
        dtype=dtype,
        **vars(figures),
    )


def _compare_sparse(
    reference: SparseRows, candidate: SparseRows, tolerance: Tolerance, *, gradient: bool, block: int
) -> Comparison:
    """Compare two sparse tensors on the union of their rows: all others are zero in both and change no figure."""
    rows, r, c = align(reference, candidate)
    found = _compare_dense(r, c, tolerance, gradient=gradient, block=block)
    # `found` counts rows of the union; a report shows rows of the tensor.
    worst = found.worst and replace(found.worst, index=(int(rows[found.worst.index[0]]), *found.worst.index[1:]))
    return replace(found, worst=worst, shape=reference.shape, elements=math.prod(reference.shape))


def _one_sided(reference: Tensor | None, candidate: Tensor | None, tolerance: Tolerance) -> Comparison:
    """Return the comparison of a tensor with None, or of None with None."""
    if reference is None and candidate is None:
        return _incomparable("absent", None, tolerance, None)
    if reference is None:
        return _incomparable("missing", candidate, tolerance, IN_REFERENCE)
    return _incomparable("missing", reference, tolerance, "None in the candidate")


def _unlike(reference: Tensor, candidate: Tensor) -> str | None:
    """Return how two tensors differ in shape or dtype, so that no arithmetic is possible; None where they do not."""
    facts = {
        "shape": (tuple(reference.shape), tuple(candidate.shape)),
        "dtype": (reference.dtype.name, candidate.dtype.name),
    }
    return ", ".join(f"{fact} {r} against {c}" for fact, (r, c) in facts.items() if r != c) or None


def _incomparable(status: Status, tensor: Tensor | None, tolerance: Tolerance, note: str | None) -> Comparison:
    """Return a comparison without arithmetic: every element counts as mismatched; an absent tensor has none."""
    elements = 0 if tensor is None else math.prod(tensor.shape)
    return Comparison(
        status=status,
        allclose=status == "absent",
        elements=elements,
        mismatched_elements=elements,
        rtol=tolerance.rtol,
        atol=math.nan if tolerance.atol is None else tolerance.atol,
        note=note,
        shape=() if tensor is None else tuple(tensor.shape),
        dtype="" if tensor is None else tensor.dtype.name,
    )

"""Compare one tensor of the reference with the same tensor of a candidate: a status, and the figures behind it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeAlias

from gradcheck.errors import RunError
from gradcheck.numerics.elements import BLOCK, Array, is_integral, magnitude, real_parts, same_bits
from gradcheck.numerics.figures import equal, measure
from gradcheck.numerics.size import euclidean_norm
from gradcheck.numerics.sparse import SparseRows, align, to_array
from gradcheck.numerics.tolerance import PRECISIONS, Tolerance
from gradcheck.results.tensor import Comparison, Status

Tensor: TypeAlias = "Array | SparseRows"


#: The note on a tensor that only the candidate has.
IN_REFERENCE = "None in the reference"


def compare(
    reference: Tensor | None,
    candidate: Tensor | None,
    tolerance: Tolerance,
    *,
    gradient: bool = True,
    brief: bool = False,
    block: int = BLOCK,
) -> Comparison:
    """Compare a tensor of the reference with the same tensor of a candidate.

    Args:
        reference: any shape; a float (bfloat16 too), complex, integer or bool dtype; None where there is no gradient.
        candidate: the same tensor, computed by another method.
        tolerance: the largest difference that is `close`. Integers and bools must be equal.
        gradient: whether zero on both sides is `dead`, for it proves nothing. False for outputs, loss and state, where
            zero is as good a value as any.
        brief: whether to leave out what only the reader of a report needs and takes most of the time: ULPs, the angle
            and the norms, and the required rtol of a tensor that differs.
        block: elements per block; the extra memory is a few dozen bytes for each of these, however large the tensors.

    Raises:
        RunError: for any other dtype.
    """
    if reference is None or candidate is None:
        return _one_sided(reference, candidate, tolerance)
    reason = _unlike(reference, candidate)
    if reason is not None:
        found = _incomparable("mismatch", reference, tolerance, reason)
        return replace(found, reference_norm=_norm(reference), candidate_norm=_norm(candidate))
    if isinstance(reference, SparseRows) and isinstance(candidate, SparseRows):
        return _compare_sparse(reference, candidate, tolerance, gradient=gradient, brief=brief, block=block)
    dense = to_array(reference), to_array(candidate)
    return _compare_dense(*dense, tolerance, gradient=gradient, brief=brief, block=block)


def _compare_dense(
    reference: Array, candidate: Array, tolerance: Tolerance, *, gradient: bool, brief: bool, block: int
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
    resolved = tolerance.resolve(dtype, r_size.largest)
    if same and r_size.finite:
        found = equal(r, r_size, resolved)
    else:
        found = measure(r, c, (r_size, c_size), resolved, block, brief=brief)
    # The order matters: a non-finite gradient is never called dead, and a dead one never exact.
    if gradient and found.status != "nonfinite" and r_size.largest == c_size.largest == 0:
        found = replace(found, status="dead")
    if reference.dtype.kind == "c":
        note = "complex: real and imaginary parts, as a last axis"
        found = replace(found, note=note, shape=reference.shape, dtype=dtype)
    return found


def _compare_sparse(
    reference: SparseRows, candidate: SparseRows, tolerance: Tolerance, *, gradient: bool, brief: bool, block: int
) -> Comparison:
    """Compare two sparse tensors on the union of their rows: all others are zero in both and change no figure."""
    rows, r, c = align(reference, candidate)
    found = _compare_dense(r, c, tolerance, gradient=gradient, brief=brief, block=block)
    # `found` counts rows of the union; a report shows rows of the tensor.
    worst = found.worst and replace(found.worst, index=(int(rows[found.worst.index[0]]), *found.worst.index[1:]))
    return replace(found, worst=worst, shape=reference.shape, elements=math.prod(reference.shape))


def _one_sided(reference: Tensor | None, candidate: Tensor | None, tolerance: Tolerance) -> Comparison:
    """Return the comparison of a tensor with None, or of None with None."""
    if reference is None and candidate is None:
        return _incomparable("absent", None, tolerance, None)
    if reference is None:
        return replace(_incomparable("missing", candidate, tolerance, IN_REFERENCE), candidate_norm=_norm(candidate))
    found = _incomparable("missing", reference, tolerance, "None in the candidate")
    return replace(found, reference_norm=_norm(reference))


def _norm(tensor: Tensor | None) -> float:
    """Return the 2-norm of `tensor`; NaN for None, and for a dtype without one."""
    return euclidean_norm([tensor]) if tensor is not None and tensor.dtype.name in PRECISIONS else math.nan


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

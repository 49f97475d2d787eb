"""Sparse gradients: some rows of a tensor, all others zero, as in `tf.IndexedSlices`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.numerics.elements import Array


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A tensor of zeros of `shape`, with `values[i]` added to row `indices[i]` for each i.

    Attributes:
        indices: integers of shape (n,), in any order, possibly repeated.
        values: shape (n, *shape[1:]).
        shape: of the dense tensor.

    Raises:
        RunError: GC055, if the three do not fit together.
    """

    indices: Array
    values: Array
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        rows = (len(self.indices), *self.shape[1:])
        if not self.shape or self.indices.ndim != 1 or self.values.shape != rows:
            raise RunError(
                f"a sparse gradient does not fit its tensor. Received: indices of shape {self.indices.shape}, "
                f"values of shape {self.values.shape}, for a tensor of shape {self.shape}",
                code="GC055",
                help="give n row indices and values of shape (n, ...) with the tensor's own other axes",
            )
        if self.indices.size and not (self.indices.min() >= 0 and self.indices.max() < self.shape[0]):
            raise RunError(
                f"a sparse gradient has rows that its tensor does not. Received: indices from {self.indices.min()} to "
                f"{self.indices.max()} for a tensor of {self.shape[0]} rows",
                code="GC055",
                help="row indices count from 0",
            )

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype of the values."""
        return self.values.dtype

    def coalesce(self) -> SparseRows:
        """Return the same tensor with sorted unique indices: duplicate rows are summed in float64 and rounded once."""
        if np.all(self.indices[1:] > self.indices[:-1]):
            return self
        order = np.argsort(self.indices, kind="stable")
        ordered = self.indices[order]
        starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.add.reduceat(self.values[order].astype(np.float64), starts).astype(self.dtype)
        return SparseRows(ordered[starts], values, self.shape)

    def dense(self) -> Array:
        """Return the dense tensor."""
        rows = self.coalesce()
        tensor = np.zeros(self.shape, self.dtype)
        tensor[rows.indices] = rows.values
        return tensor


def to_array(tensor: Array | SparseRows) -> Array:
    """Return `tensor` as a dense array; a NumPy scalar as an array of shape ()."""
    return tensor.dense() if isinstance(tensor, SparseRows) else np.asarray(tensor)


def bytes_of(tensor: Array | SparseRows | None) -> int:
    """Return the number of bytes that `tensor` holds; 0 for None."""
    if tensor is None:
        return 0
    return int(tensor.indices.nbytes + tensor.values.nbytes if isinstance(tensor, SparseRows) else tensor.nbytes)


def to_vector(tensor: Array | SparseRows) -> NDArray[np.float64]:
    """Return the elements of `tensor` in their order, in float64, as an array of shape (elements,)."""
    vector: NDArray[np.float64] = to_array(tensor).astype(np.float64).ravel()
    return vector


def align(a: SparseRows, b: SparseRows) -> tuple[Array, Array, Array]:
    """Return `(indices, rows of a, rows of b)` over the union of their rows; a row that one of them lacks is zeros."""
    a, b = a.coalesce(), b.coalesce()
    if np.array_equal(a.indices, b.indices):
        return a.indices, a.values, b.values
    union = np.union1d(a.indices, b.indices)
    return union, _spread(a, union), _spread(b, union)


def _spread(rows: SparseRows, indices: Array) -> Array:
    """Return the values of `rows` (coalesced) at `indices`, a sorted superset of its own, with zeros elsewhere."""
    values = np.zeros((len(indices), *rows.shape[1:]), rows.dtype)
    values[np.searchsorted(indices, rows.indices)] = rows.values
    return values

"""Tolerances: the defaults by dtype, in one table, and the changes that a config makes to them by path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The resolution of a floating dtype: `eps`, the gap between 1 and the next number, and the default tolerances.

    `atol: auto` is `atol_eps` times eps times the largest reference element: the rounding of a short sum. For 16-bit
    dtypes the factor is kept small, for a tolerance of several per cent would let a wrong scale pass; the noise floor
    covers the rest.
    """

    eps: float
    rtol: float
    atol_eps: int = 16


#: The default tolerances. A complex number is as precise as its parts.
PRECISIONS: dict[str, Precision] = {
    "float64": Precision(eps=2.0**-52, rtol=1e-11),
    "float32": Precision(eps=2.0**-23, rtol=1e-5),
    "float16": Precision(eps=2.0**-10, rtol=2.0**-9, atol_eps=2),
    "bfloat16": Precision(eps=2.0**-7, rtol=2.0**-6, atol_eps=2),
    "complex128": Precision(eps=2.0**-52, rtol=1e-11),
    "complex64": Precision(eps=2.0**-23, rtol=1e-5),
}


def lower_precision(a: str, b: str) -> str:
    """Return the coarser of two dtypes, by name; integer and bool dtypes, which round nothing, count as the finest."""
    return max(a, b, key=lambda dtype: PRECISIONS[dtype].eps if dtype in PRECISIONS else 0.0)


@dataclass(frozen=True)
class Tolerance:
    """The tolerance of one tensor: |candidate - reference| ≤ atol + rtol·|reference|.

    Attributes:
        rtol: relative to each element of the reference.
        atol: absolute; None is auto, `atol_eps`·eps·max|reference|, where both constants are those of the lower
            precision of the tensor and of `compute_dtype`, and the maximum is over finite elements only.
        compute_dtype: the dtype that the tensor was computed in; None is the tensor's own.
    """

    rtol: float
    atol: float | None
    compute_dtype: str | None = None

    def resolve(self, dtype: str, largest: float) -> tuple[float, float]:
        """Return `(rtol, atol)` as numbers for a tensor of `dtype` whose largest finite |reference| is `largest`.

        Integer and bool tensors are compared exactly: (0, 0), whatever the tolerance.
        """
        if dtype not in PRECISIONS:
            return 0.0, 0.0
        if self.atol is not None:
            return self.rtol, self.atol
        coarser = lower_precision(dtype, self.compute_dtype or dtype)
        return self.rtol, PRECISIONS[coarser].atol_eps * PRECISIONS[coarser].eps * largest


#: The tolerance of integer and bool tensors.
EXACT = Tolerance(rtol=0.0, atol=0.0)


@dataclass(frozen=True)
class ToleranceOverride:
    """Another tolerance for the tensors whose path matches `pattern` (`fnmatch.fnmatchcase`). None: unchanged."""

    pattern: str
    rtol: float | None = None
    atol: float | Literal["auto"] | None = None

    def apply(self, tolerance: Tolerance) -> Tolerance:
        """Return `tolerance` with the values that this override sets, and the others unchanged."""
        if self.rtol is not None:
            tolerance = replace(tolerance, rtol=self.rtol)
        if self.atol is not None:
            tolerance = replace(tolerance, atol=None if self.atol == "auto" else self.atol)
        return tolerance


@dataclass(frozen=True)
class TolerancePolicy:
    """The tolerances of one run. `rtol` None: by dtype; `atol` None: auto; of several overrides the later wins."""

    rtol: float | None = None
    atol: float | None = None
    overrides: tuple[ToleranceOverride, ...] = ()

    def for_tensor(self, path: str, dtype: str, compute_dtype: str) -> Tolerance:
        """Return the tolerance of the tensor at `path`, of `dtype` (`"bfloat16"`); `EXACT` for integers and bools."""
        if dtype not in PRECISIONS:
            return EXACT
        default = PRECISIONS[lower_precision(dtype, compute_dtype)].rtol
        tolerance = Tolerance(default if self.rtol is None else self.rtol, self.atol, compute_dtype)
        for override in self.overrides:
            if fnmatchcase(path, override.pattern):
                tolerance = override.apply(tolerance)
        return tolerance

    def unmatched(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return the patterns of the overrides that match none of `paths`: probably misspelt."""
        known = tuple(paths)
        patterns = (override.pattern for override in self.overrides)
        return tuple(pattern for pattern in patterns if not any(fnmatchcase(path, pattern) for path in known))

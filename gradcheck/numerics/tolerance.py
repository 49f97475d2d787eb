"""How much a tensor may differ: one table by dtype, and what a config changes in it by path."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, kw_only=True)
class Precision:
    """What a floating dtype can tell apart: `eps`, the gap after 1, and the default tolerances.

    `atol: auto` is `atol_eps` times eps of the largest reference element: what a short sum of rounded terms loses. In
    16 bits that is kept small, for a tolerance of several per cent would let a wrong scale pass; the noise floor sees
    to the rest.
    """

    eps: float
    rtol: float
    atol_eps: int = 16


#: The one table of defaults. A complex number is as precise as its parts.
PRECISIONS: dict[str, Precision] = {
    "float64": Precision(eps=2.0**-52, rtol=1e-11),
    "float32": Precision(eps=2.0**-23, rtol=1e-5),
    "float16": Precision(eps=2.0**-10, rtol=2.0**-9, atol_eps=2),
    "bfloat16": Precision(eps=2.0**-7, rtol=2.0**-6, atol_eps=2),
    "complex128": Precision(eps=2.0**-52, rtol=1e-11),
    "complex64": Precision(eps=2.0**-23, rtol=1e-5),
}


def lower_precision(a: str, b: str) -> str:
    """The coarser of two dtypes, by name; an integer or bool dtype rounds nothing and so counts as the finest."""
    return max(a, b, key=lambda dtype: PRECISIONS[dtype].eps if dtype in PRECISIONS else 0.0)


@dataclass(frozen=True)
class Tolerance:
    """What |candidate - reference| ≤ atol + rtol·|reference| is judged by, for one tensor.

    Attributes:
        rtol: relative to each element of the reference.
        atol: absolute; None is auto, `atol_eps`·eps·max|reference|, where both belong to the lower precision of
            the tensor and of `compute_dtype`, and the maximum counts finite elements only.
        compute_dtype: the dtype that the tensor was computed in; None is the tensor's own.
    """

    rtol: float
    atol: float | None
    compute_dtype: str | None = None

    def resolve(self, dtype: str, largest: float) -> tuple[float, float]:
        """`(rtol, atol)` as numbers for a tensor of `dtype` whose largest finite |reference| is `largest`.

        Integer and bool tensors are exact: (0, 0) whatever was asked for.
        """
        if dtype not in PRECISIONS:
            return 0.0, 0.0
        if self.atol is not None:
            return self.rtol, self.atol
        coarser = lower_precision(dtype, self.compute_dtype or dtype)
        return self.rtol, PRECISIONS[coarser].atol_eps * PRECISIONS[coarser].eps * largest


#: What integer and bool tensors are held to.
EXACT = Tolerance(rtol=0.0, atol=0.0)


@dataclass(frozen=True)
class ToleranceOverride:
    """Another tolerance for the tensors whose path matches `pattern` (`fnmatch.fnmatchcase`). None: unchanged."""

    pattern: str
    rtol: float | None = None
    atol: float | Literal["auto"] | None = None

    def apply(self, tolerance: Tolerance) -> Tolerance:
        """`tolerance` with what this override says, and the rest kept."""
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
        """The tolerance of the tensor at `path`; dtypes by name (`"bfloat16"`). Integer and bool dtypes are `EXACT`."""
        if dtype not in PRECISIONS:
            return EXACT
        default = PRECISIONS[lower_precision(dtype, compute_dtype)].rtol
        tolerance = Tolerance(default if self.rtol is None else self.rtol, self.atol, compute_dtype)
        for override in self.overrides:
            if fnmatchcase(path, override.pattern):
                tolerance = override.apply(tolerance)
        return tolerance

    def unmatched(self, paths: Iterable[str]) -> tuple[str, ...]:
        """The patterns of overrides that match none of `paths`: probably misspelt."""
        known = tuple(paths)
        patterns = (override.pattern for override in self.overrides)
        return tuple(pattern for pattern in patterns if not any(fnmatchcase(path, pattern) for path in known))

"""What a candidate found and the reference did not: the evidence that a diagnosis starts from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.gradients.named import as_array, named_tensors
from gradcheck.gradients.reference import GRADIENT_KINDS
from gradcheck.models.precision import compute_dtype
from gradcheck.models.problem import TensorKey
from gradcheck.numerics import NOISE_FACTOR, TolerancePolicy, compare, is_zero, largest, movement, to_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.gradients.interface import Gradients
    from gradcheck.gradients.reference import Reference
    from gradcheck.models.problem import Problem
    from gradcheck.numerics import Tensor, Tolerance
    from gradcheck.report import TensorReport

#: What explains a wrong tensor is nearer to it than this share of its distance from the reference.
EXPLAINED = 0.05
#: A distance of this share is rounding, whatever the tolerance says of it.
ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well a replayed mistake agrees with what was observed.

    Attributes:
        wrong: how many of the wrong tensors it explains: all of them.
        furthest: their largest distance, as a share of the tensor's largest element.
    """

    wrong: int
    furthest: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Observed:
    """A mismatch.

    Attributes:
        gradients: what the candidate found.
        rows: every tensor as it was compared with the reference.
    """

    problem: Problem
    reference: Reference
    gradients: Gradients
    rows: Sequence[TensorReport]

    @cached_property
    def arrays(self) -> Mapping[TensorKey, Tensor | None]:
        """All that the candidate supplied, by key."""
        return {key: as_array(tensor) for key, tensor in named_tensors(self.problem, self.gradients).items()}

    @cached_property
    def expected(self) -> Mapping[TensorKey, Tensor | None]:
        """What the reference has in its place."""
        return {key: as_array(self.reference.tensors.get(key)) for key in self.arrays}

    @cached_property
    def failing(self) -> Mapping[TensorKey, TensorReport]:
        """The rows that fail, in report order."""
        return {TensorKey(row.kind, row.path): row for row in self.rows if row.failed}

    @cached_property
    def wrong_gradients(self) -> tuple[TensorKey, ...]:
        """The gradients that are wrong, in report order."""
        return tuple(key for key in self.failing if key.kind in GRADIENT_KINDS)

    @cached_property
    def wrong_values(self) -> frozenset[str]:
        """The kinds of values that are wrong: output, loss, state."""
        return frozenset(key.kind for key in self.failing if key.kind not in GRADIENT_KINDS)

    @cached_property
    def last_wrong_segment(self) -> int | None:
        """The segment nearest to the loss with a wrong gradient. A weight of several segments counts for the first."""
        wrong = [row.segment for key, row in self.failing.items() if key.kind in GRADIENT_KINDS]
        return max((segment for segment in wrong if segment is not None), default=None)

    def explained_by(self, replay: Gradients) -> Agreement | None:
        """How well `replay` agrees with all that was observed; None where it does not.

        Gradients must be equal where they are right and where they are wrong; values where they are wrong.
        """
        found = {key: as_array(tensor) for key, tensor in named_tensors(self.problem, replay).items()}
        judged = [key for key in self.arrays if key.kind in GRADIENT_KINDS or key.kind in self.wrong_values]
        judged = [key for key in judged if key in self.failing or not self._is(key, replay)]
        if not all(key in found and self._same(key, found[key]) for key in judged):
            return None
        wrong = [key for key in judged if key in self.failing]
        return Agreement(wrong=len(wrong), furthest=max((self._share(key, found[key]) for key in wrong), default=0.0))

    def partly_explained_by(self, replay: Gradients) -> frozenset[TensorKey]:
        """The wrong tensors that `replay` has too; none where it makes a gradient wrong that is right."""
        found = {key: as_array(tensor) for key, tensor in named_tensors(self.problem, replay).items()}
        right = [key for key in self.arrays if key.kind in GRADIENT_KINDS and key not in self.failing]
        if not all(self._is(key, replay) or (key in found and self._same(key, found[key])) for key in right):
            return frozenset()
        return frozenset(key for key in self.failing if key in found and self._same(key, found[key]))

    def _is(self, key: TensorKey, replay: Gradients) -> bool:
        """Whether a replay gives the very tensor: one that the fault leaves as it is in the correct split."""
        here = self.gradients.tensors.get(key)
        return here is not None and here is replay.tensors.get(key)

    def _same(self, key: TensorKey, there: Tensor | None) -> bool:
        """Whether `there` is what was observed, but for rounding."""
        tolerance = TolerancePolicy().for_tensor(key.path, _dtype(there), compute_dtype(self.problem.precision))
        here, expected, row = self.arrays[key], self.expected[key], self.failing.get(key)
        if row is not None and row.status == "nonfinite":
            here, there = _without_same_nonfinite(here, there)
        return same(here, there, expected, tolerance, wrong=row is not None, floor=self._floor(key))

    def _floor(self, key: TensorKey) -> float:
        """What rounding alone may do to a gradient that is right."""
        return NOISE_FACTOR * self.reference.noise_floors.get(key, 0.0) if self.reference.noise_measured else 0.0

    def _share(self, key: TensorKey, there: Tensor | None) -> float:
        here = self.arrays[key]
        if here is None or there is None:
            return 0.0
        return movement(there, here) / (largest(here) or 1.0)


def same(
    here: Tensor | None,
    there: Tensor | None,
    expected: Tensor | None,
    tolerance: Tolerance,
    *,
    wrong: bool,
    floor: float,
) -> bool:
    """Whether what was observed is what a mistake gives, but for rounding.

    Args:
        here: what was observed.
        there: what the mistake gives.
        expected: what the reference has.
        tolerance: within which two tensors are the same.
        wrong: whether `here` is: then it must be much nearer to `there` than to `expected`.
        floor: what rounding may do to one that is right.
    """
    if here is None or there is None:
        return is_zero(here) and is_zero(there)  # people write zeros for None
    found = compare(there, here, tolerance, gradient=False)
    if found.note or found.status == "nonfinite":
        return False  # another shape or dtype, or nothing to compare
    if not wrong:
        return found.allclose or found.max_abs_error <= floor
    return found.max_abs_error <= (EXPLAINED if found.allclose else ROUNDING) * _apart(here, expected)


def _without_same_nonfinite(here: Tensor | None, there: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Both with zeros where both have the same NaN or infinity; as they are where only one has it."""
    if here is None or there is None or tuple(here.shape) != tuple(there.shape):
        return here, there
    one, other = to_array(here).copy(), to_array(there).copy()
    alike = ~np.isfinite(one) & ((one == other) | (np.isnan(one) & np.isnan(other)))
    one[alike] = other[alike] = 0
    return one, other


def _apart(here: Tensor, expected: Tensor | None) -> float:
    """How far what was observed is from the reference."""
    if expected is None or here.shape != expected.shape:
        return max(largest(here), largest(expected))
    return movement(expected, here)


def _dtype(tensor: Tensor | None) -> str:
    return "" if tensor is None else str(tensor.dtype.name)

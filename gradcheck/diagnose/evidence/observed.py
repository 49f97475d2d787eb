"""The evidence of a mismatch: a candidate's tensors beside the reference's, and how well a replay explains them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.comparing.reference import GRADIENT_KINDS, expected_of
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.numerics import NOISE_FACTOR, TolerancePolicy, compare, is_zero, largest, movement, to_array
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.comparing.reference import Reference
    from gradcheck.handoff.interface import Gradients
    from gradcheck.numerics import Tensor, Tolerance
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport

#: A replay explains a wrong tensor if it is nearer to it than this share of its distance from the reference.
EXPLAINED = 0.05
#: The share of that distance that counts as rounding, even beyond the tolerance.
ROUNDING = 1e-3


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How well a replay agrees with the observed tensors.

    Attributes:
        wrong: the number of wrong tensors, all of which the replay explains.
        elements: the number of elements of these.
        furthest: their largest distance from the replay, as a share of the tensor's largest element.
        close: whether all of them are within tolerance, or within the noise floor.
    """

    wrong: int
    elements: int
    furthest: float
    close: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Observed:
    """A mismatch between a candidate and the reference.

    Attributes:
        gradients: what the candidate supplied.
        rows: the report of every compared tensor.
    """

    problem: Problem
    reference: Reference
    gradients: Gradients
    rows: Sequence[TensorReport]

    @cached_property
    def arrays(self) -> Mapping[TensorKey, Tensor | None]:
        """Every tensor that the candidate supplied, by key."""
        return {key: as_array(tensor) for key, tensor in named_tensors(self.problem, self.gradients).items()}

    @cached_property
    def expected(self) -> Mapping[TensorKey, Tensor | None]:
        """The tensors that those with a row were compared with, by key."""
        against = expected_of(self.reference, self.gradients)
        return {key: as_array(against.get(key)) for key in (TensorKey(row.kind, row.path) for row in self.rows)}

    @cached_property
    def failing(self) -> Mapping[TensorKey, TensorReport]:
        """The rows that fail and in which the two sides differ, in report order: what a mistake can explain.

        A row is left out if the sides agree wherever the reference is finite: no mistake made the difference.
        """
        failing = {TensorKey(row.kind, row.path): row for row in self.rows if row.failed}
        return {key: row for key, row in failing.items() if key not in self.not_finite or not self._alike(key)}

    @cached_property
    def not_finite(self) -> frozenset[TensorKey]:
        """The keys of tensors with NaN or infinity on either side."""
        return frozenset(TensorKey(row.kind, row.path) for row in self.rows if row.status == "nonfinite")

    @cached_property
    def broken_reference(self) -> frozenset[TensorKey]:
        """The keys of tensors with NaN or infinity in the reference."""
        return frozenset(key for key in self.not_finite if not _is_finite(self.expected.get(key)))

    def is_broken(self, key: TensorKey) -> bool:
        """Whether the candidate's tensor holds NaN or infinity."""
        return not _is_finite(self.arrays.get(key))

    def _alike(self, key: TensorKey) -> bool:
        here, expected = self.arrays[key], self.expected[key]
        if here is None or expected is None or tuple(here.shape) != tuple(expected.shape):
            return False
        one, other = to_array(here), to_array(expected)
        known = np.isfinite(other)
        found = compare(other[known], one[known], self._tolerance(key, expected), gradient=False, brief=True)
        return found.status in PROVEN

    @cached_property
    def wrong_gradients(self) -> tuple[TensorKey, ...]:
        """The keys of wrong gradients, in report order."""
        return tuple(key for key in self.failing if key.kind in GRADIENT_KINDS)

    @cached_property
    def wrong_values(self) -> frozenset[str]:
        """The kinds of wrong tensors that are not gradients: output, loss, state."""
        return frozenset(key.kind for key in self.failing if key.kind not in GRADIENT_KINDS)

    @cached_property
    def last_wrong_segment(self) -> int | None:
        """The segment nearest to the loss with a wrong gradient; a weight of several segments counts for its first."""
        wrong = [row.segment for key, row in self.failing.items() if key.kind in GRADIENT_KINDS]
        return max((segment for segment in wrong if segment is not None), default=None)

    @property
    def whole_agreement(self) -> Agreement:
        """How well a replay agrees of which these are the gradients themselves."""
        elements = sum(row.elements for row in self.failing.values())
        return Agreement(wrong=len(self.failing), elements=elements, furthest=0.0, close=True)

    def explained_by(self, replay: Gradients) -> Agreement | None:
        """Return how well `replay` agrees with all that was observed; None if it does not agree.

        Every gradient must be equal, the right ones too; other tensors only if something of their kind is wrong.
        """
        found = {key: as_array(tensor) for key, tensor in named_tensors(self.problem, replay).items()}
        judged = [key for key in self.arrays if key.kind in GRADIENT_KINDS or key.kind in self.wrong_values]
        wrong = [key for key in judged if key in self.failing]
        # In `mutate` the observed gradients are a replay's: tensors that two replays share need no comparison.
        apart = [key for key in judged if not self._is(key, replay)]
        if not all(key in found and self._same(key, found[key]) for key in apart):
            return None
        wrong_apart = [key for key in apart if key in self.failing]
        return Agreement(
            wrong=len(wrong),
            elements=sum(_size(found[key]) for key in wrong),
            furthest=max((self._share(key, found[key]) for key in wrong_apart), default=0.0),
            close=all(self._is_close(key, found[key]) for key in wrong_apart),
        )

    def partly_explained_by(self, replay: Gradients) -> frozenset[TensorKey]:
        """Return the wrong tensors that `replay` gives too; none if it makes a right gradient wrong."""
        found = {key: as_array(tensor) for key, tensor in named_tensors(self.problem, replay).items()}
        right = [key for key in self.arrays if key.kind in GRADIENT_KINDS and key not in self.failing]
        if not all(self._is(key, replay) or (key in found and self._same(key, found[key])) for key in right):
            return frozenset()
        return frozenset(key for key in self.failing if key in found and self._same(key, found[key]))

    def departures(self, right: Gradients, agreeing: set[TensorKey]) -> tuple[TensorKey, ...]:
        """Return the wrong tensors in which a correct split differs from the reference too, by more than rounding.

        If the split uses the whole model's layers, a difference that is small beside the observed one is rounding.

        Args:
            right: the gradients of the correct split.
            agreeing: the tensors whose reference the same split is known to equal; those that are found are added.
        """
        named = named_tensors(self.problem, right)
        judged = [
            key for key in self.failing if key in named and (key in self.gradients.against or key not in agreeing)
        ]
        return tuple(key for key in judged if not self._rounds_to(key, as_array(named[key]), agreeing))

    def _rounds_to(self, key: TensorKey, there: Tensor | None, agreeing: set[TensorKey]) -> bool:
        """Whether `there` is the reference's tensor up to rounding."""
        there, expected = _without_same_nonfinite(there, self.expected[key])
        if there is None or expected is None:
            return is_zero(there) and is_zero(expected)
        found = compare(expected, there, self._tolerance(key, expected), gradient=False, brief=True)
        row = self.failing[key]
        if math.isnan(found.max_abs_error) or found.status == "nonfinite":
            return False
        if found.allclose or found.max_abs_error <= self._floor(key):
            if key not in self.gradients.against:
                agreeing.add(key)
            return True
        allowed = 0.0 if math.isnan(row.atol) else row.atol + row.rtol * largest(expected)
        if self.problem.shares_graph:
            here = self.arrays[key]
            # The same layers compute the same function: splitting them can only round in another order.
            allowed = max(allowed, EXPLAINED * (largest(expected) if here is None else _apart(here, expected)))
        if found.max_abs_error <= allowed:
            return True
        return found.max_abs_error <= NOISE_FACTOR * self.reference.noise_floors.get(key, 0.0)

    def of(self, gradients: Gradients) -> Observed:
        """Return a comparison of other gradients with the same reference."""
        rows = compare_all(self.problem, self.reference, gradients, TolerancePolicy(), noise=True)
        return replace(self, gradients=gradients, rows=rows)

    def beside(self, right: Gradients) -> Observed:
        """Return a comparison of the same gradients with a correct split, in place of the reference."""
        expected, floors = named_tensors(self.problem, right), self.reference.noise_floors
        gradients = replace(
            self.gradients,
            against={key: expected.get(key) for key in self.arrays},
            noise=lambda keys: {key: floors.get(key, 0.0) for key in keys},
        )
        return self.of(gradients)

    def _is(self, key: TensorKey, replay: Gradients) -> bool:
        """Whether a replay gives the very tensor object, as it does if a replay itself is observed."""
        here = self.gradients.tensors.get(key)
        return here is not None and here is replay.tensors.get(key)

    def _same(self, key: TensorKey, there: Tensor | None) -> bool:
        """Whether `there` is the observed tensor up to rounding."""
        return self._judged(key, there, wrong=key in self.failing)

    def _is_close(self, key: TensorKey, there: Tensor | None) -> bool:
        """Whether a wrong tensor is within tolerance of the replay, not only nearer to it than to the reference."""
        return self._judged(key, there, wrong=False)

    def _judged(self, key: TensorKey, there: Tensor | None, *, wrong: bool) -> bool:
        here, tolerance = self.arrays[key], self._tolerance(key, there)
        if key in self.not_finite:
            # A mistake may give NaN in the same elements: that is agreement, and the others are compared.
            here, there = _without_same_nonfinite(here, there)
        return same(here, there, self.expected.get(key), tolerance, wrong=wrong, floor=self._floor(key))

    def _tolerance(self, key: TensorKey, tensor: Tensor | None) -> Tolerance:
        dtype = "" if tensor is None else str(tensor.dtype.name)
        return TolerancePolicy().for_tensor(key.path, dtype, compute_dtype(self.problem.precision))

    def _floor(self, key: TensorKey) -> float:
        """Return how far rounding alone may move a right gradient; 0 if the noise floor was not measured."""
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
    """Whether the observed tensor is the one that a mistake gives, up to rounding.

    Args:
        here: the observed tensor.
        there: the tensor that the mistake gives.
        expected: the reference's tensor.
        tolerance: how far apart equal tensors may be.
        wrong: whether `here` is wrong: then it must also be much nearer to `there` than to `expected`.
        floor: how far rounding may move a tensor that is right.
    """
    if here is None or there is None:
        return is_zero(here) and is_zero(there)  # user code writes zeros for None
    found = compare(there, here, tolerance, gradient=False, brief=True)
    if math.isnan(found.max_abs_error) or found.status == "nonfinite":
        return False  # another shape or dtype, or nothing to compare
    if not wrong:
        return found.allclose or found.max_abs_error <= floor
    # For a small mistake even the reference is almost within tolerance: the distance from it decides.
    return found.max_abs_error <= (EXPLAINED if found.allclose else ROUNDING) * _apart(here, expected)


def _size(tensor: Tensor | None) -> int:
    return 0 if tensor is None else math.prod(tensor.shape)


def _is_finite(tensor: Tensor | None) -> bool:
    return tensor is None or bool(np.isfinite(to_array(tensor)).all())


def _without_same_nonfinite(here: Tensor | None, there: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return both tensors, with zeros where both have the same NaN or infinity."""
    if here is None or there is None or tuple(here.shape) != tuple(there.shape):
        return here, there
    one, other = to_array(here).copy(), to_array(there).copy()
    alike = ~np.isfinite(one) & ((one == other) | (np.isnan(one) & np.isnan(other)))
    one[alike] = other[alike] = 0
    return one, other


def _apart(here: Tensor, expected: Tensor | None) -> float:
    """Return how far the observed tensor is from the reference's."""
    if expected is None or here.shape != expected.shape:
        return max(largest(here), largest(expected))
    return movement(expected, here)

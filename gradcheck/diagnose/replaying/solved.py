"""Faults with a number that only the observed gradients tell: it is solved for, then replayed."""

from __future__ import annotations

import time
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.diagnose.effort import REPLAYS
from gradcheck.diagnose.evidence.observed import EXPLAINED
from gradcheck.diagnose.replaying.replays import Match, agreement_with, may_have_made
from gradcheck.faults import FAULTS
from gradcheck.faults.interface import ScalingFault
from gradcheck.numerics import to_vector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.replaying.replays import Replayed
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem

#: How near to 0 or 1 a number is none: the thing was left out, or is right.
NONE = 1e-4
#: The fewest wrong elements that a number solved from them proves: it fits any single one.
FEWEST = 4


def with_factors(observed: Observed, replayed: Replayed, *, end: float, effort: Effort) -> Match | None:
    """Return the first fault, in the order of `FAULTS`, that gives the observed gradients with some number.

    Gradients are affine in the number, at least those nearest to the loss that it changes: two replays give it, one
    without the thing that is multiplied, and the correct split. A third, with the number, must give all gradients.

    Args:
        observed: a mismatch that no fault without such a number explains.
        replayed: earlier replays; the missing ones run here.
        end: the `time.monotonic()` at which replays stop, in seconds.
        effort: collects the replays that raise.
    """
    for fault, index, without in _suspected(observed, replayed, effort):
        if time.monotonic() > end:
            return None
        factor = effort.attempt(REPLAYS, partial(_solved, observed, replayed, without))
        if factor is None or not fault.fits(observed.problem, factor):
            continue
        injection = next(islice(fault.injections_with(observed.problem, factor), index, None))
        agreement = effort.attempt(REPLAYS, partial(agreement_with, observed, replayed, injection))
        if agreement is not None and agreement.elements >= FEWEST:
            return Match(injection, agreement)
    return None


def _suspected(observed: Observed, replayed: Replayed, effort: Effort) -> Iterator[tuple[ScalingFault, int, Injection]]:
    """Yield each fault at each place with the number 0, and its index among the places."""
    for fault in FAULTS:
        if not isinstance(fault, ScalingFault) or fault.code in replayed.without:
            continue
        places = partial(_places, fault, observed.problem)
        for index, injection in enumerate(effort.attempt(f"the places of {fault.code}", places) or ()):
            if may_have_made(injection, observed.last_wrong_segment):
                yield fault, index, injection


def _places(fault: ScalingFault, problem: Problem) -> list[Injection]:
    return list(fault.injections_with(problem, 0.0))


def _solved(observed: Observed, replayed: Replayed, without: Injection) -> float | None:
    """Return the number by least squares over the wrong gradients that are nearest to the loss; None if none fits."""
    last, right = observed.last_wrong_segment, named_tensors(observed.problem, replayed.replays.right)
    zero = named_tensors(observed.problem, replayed.gradients(without))
    nearest = [key for key in observed.wrong_gradients if observed.failing[key].segment == last]
    pairs = [_moved(observed.arrays[key], right.get(key), zero.get(key)) for key in nearest]
    if not pairs or None in pairs:
        return None
    seen, whole = (np.concatenate(parts) for parts in zip(*filter(None, pairs), strict=True))
    if not whole.any():
        return None
    factor = float(seen @ whole / (whole @ whole))
    off = float(np.abs(seen - factor * whole).max())
    if off > EXPLAINED * float(np.abs(seen - whole).max()) or min(abs(factor), abs(factor - 1)) < NONE:
        return None
    return factor


def _moved(seen: Any, right: Any, zero: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return how far the observed and the right gradient are from that without the thing; None if that says nothing."""
    arrays = [_vector(tensor) for tensor in (seen, right, zero)]
    one, other, none = arrays
    if one is None or other is None or one.size != other.size:
        return None
    none = np.zeros_like(one) if none is None else none
    found = one - none, other - none
    return found if np.isfinite(found).all() else None


def _vector(tensor: Any) -> NDArray[np.float64] | None:
    array = as_array(tensor)
    return None if array is None else to_vector(array)

"""Pairs: two faults in the same tensors, which no fault explains alone."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.diagnose.effort import REPLAYS
from gradcheck.diagnose.replaying.replays import agreement_with
from gradcheck.diagnose.replaying.several import Part
from gradcheck.faults.composition import both
from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.losses.factors import all_scaled, may_be_loss_scale

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.replaying.replays import Replayed
    from gradcheck.problem.problem import Problem

    Print = NDArray[np.float64]

#: Mistakes that are a factor on every gradient: two of these are one with another factor.
FACTORS = frozenset({"GC201", "GC202", "GC503", "GC504"})
#: The most pairs that are replayed: their number grows with the square of that of faults.
MOST_PAIRS = 60
#: How far a factor may be from a whole number that it is but for rounding, as a share of it.
WHOLE = 1e-3


def pair(observed: Observed, replayed: Replayed, *, end: float, effort: Effort) -> tuple[Part, ...]:
    """Return two faults that give all observed gradients in one split; () if there are none.

    Only likely pairs are replayed: a fault whose gradients are all those observed but for one factor, with a mistake
    that gives this factor; and one that gives some of the wrong gradients, with another that leaves these alone.

    Args:
        observed: a mismatch that faults explain neither alone nor each in tensors of its own.
        replayed: the replays of the faults by themselves; those that have not run are left out.
        end: the `time.monotonic()` at which replays stop, in seconds.
        effort: collects the replays that raise.
    """
    for count, (first, second) in enumerate(_likely(observed, replayed, effort)):
        if count == MOST_PAIRS or time.monotonic() > end:
            break
        together = both(first.injection, second.injection)
        if together is None:
            continue
        agreement = effort.attempt(REPLAYS, partial(agreement_with, observed, replayed, together))
        if agreement is not None and agreement.close:
            return first, second
    return ()


def _likely(observed: Observed, replayed: Replayed, effort: Effort) -> Iterator[tuple[Part, Part]]:
    suspects = replayed.suspects(own_slices=not observed.gradients.outputs, effort=effort)
    known = [(injection, replayed.known_print(injection)) for injection in suspects]
    printed = [(injection, found) for injection, found in known if found is not None]
    seen = replayed.fingerprint(observed.gradients)
    for injection, found in (one for one in printed if one[0].code not in FACTORS):
        factor = _factor(found, seen, replayed)
        code = None if factor is None else _of_factor(observed.problem, factor)
        if code is not None and factor is not None:
            yield Part(injection, frozenset(), 0), Part(_everything_times(factor, code), frozenset(), 0)
    yield from _beside_each_other(observed, replayed, printed, seen)


def _factor(found: Print, seen: Print, replayed: Replayed) -> float | None:
    """Return the factor by which gradients with the print `seen` may be those with the print `found`."""
    (norms, sums), (_, seen_sums) = found.T, seen.T
    if not norms.any() or not sums.any():
        return None
    factor = float(sums @ seen_sums / (sums @ sums))
    multiplied = np.stack([abs(factor) * norms, factor * sums], axis=1)
    return factor if replayed.alike(multiplied, seen).all() else None


def _of_factor(problem: Problem, factor: float) -> str | None:
    """Return the code of the mistake that multiplies every gradient by `factor`."""
    if abs(factor + 1) < WHOLE:
        return "GC504"
    if factor > 0 and may_be_loss_scale(problem, factor):
        return "GC503"
    size = max(factor, 1 / factor) if factor > 0 else 0.0
    if size > 1.5 and abs(size - round(size)) < WHOLE * size:  # noqa: PLR2004 - one is no factor
        return "GC201" if factor > 1 else "GC202"
    return None


def _everything_times(factor: float, code: str) -> Injection:
    return Injection(
        code=code,
        place=Place(text="every gradient", everywhere=True),
        effect=f"every gradient was multiplied by {factor:.4g}",
        finish=partial(all_scaled, factor),
    )


def _beside_each_other(
    observed: Observed, replayed: Replayed, printed: list[tuple[Injection, Print]], seen: Print
) -> Iterator[tuple[Part, Part]]:
    """Yield a fault that gives some of the wrong gradients, with each that changes none of these, the best first."""
    weights = [weight.key for weight in observed.problem.weights]
    wrong = np.array([key in observed.failing for key in weights])
    right = replayed.fingerprint(replayed.replays.right)
    changed = [(injection, ~replayed.alike(found, right)) for injection, found in printed]
    gives = [(injection, replayed.alike(found, seen)) for injection, found in printed]
    firsts = [(injection, alike & wrong) for injection, alike in gives if alike[~wrong].all() and alike[wrong].any()]
    for injection, explained in sorted(firsts, key=lambda first: -int(first[1].sum())):
        part = Part(injection, frozenset(key for key, is_ in zip(weights, explained, strict=True) if is_), 0)
        left = wrong & ~explained
        for other, touches in changed:
            if other.code != injection.code and (touches & left).any() and not (touches & ~left).any():
                yield part, Part(other, frozenset(), 0)

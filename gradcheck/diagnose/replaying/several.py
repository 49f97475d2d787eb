"""Combinations: a few faults that explain every wrong tensor together, where no single one does."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck.diagnose.effort import REPLAYS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.replaying.replays import Replayed
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import TensorKey

#: The most simultaneous mistakes that are searched for.
MOST = 3


class Part(NamedTuple):
    """A fault that leaves right tensors right, and the wrong tensors that it explains.

    `beyond` counts weights that the fault changes, but that were observed otherwise: another mistake changed them.
    """

    injection: Injection
    explains: frozenset[TensorKey]
    beyond: int


def together(observed: Observed, replayed: Replayed, *, end: float, effort: Effort) -> tuple[Part, ...]:
    """Return faults that explain all wrong tensors together, the one that explains most first; () if there are none.

    Each must explain some tensors alone: mistakes that all change the same tensors are not found.

    Args:
        observed: a mismatch that no single fault explains.
        replayed: earlier replays; the missing ones run here.
        end: the `time.monotonic()` at which these stop, in seconds.
        effort: collects the replays that raise.
    """
    remaining, chosen = set(observed.failing), list[Part]()
    likely = list(_likely(observed, replayed, end=end, effort=effort))
    # A greedy set cover: there are too many combinations to try each.
    while remaining and len(chosen) < MOST:
        part = _most_of(remaining, likely, observed, replayed)
        if part is None:
            return ()
        chosen.append(part)
        remaining -= part.explains
    return () if remaining else tuple(chosen)


def _likely(observed: Observed, replayed: Replayed, *, end: float, effort: Effort) -> Iterator[Part]:
    """Yield the faults whose fingerprints may explain some wrong weights and leave the right ones right."""
    weights = [weight.key for weight in observed.problem.weights]
    wrong = np.array([key in observed.failing for key in weights])
    seen, right = replayed.fingerprint(observed.gradients), replayed.fingerprint(replayed.replays.right)
    suspects = replayed.suspects(own_slices=not observed.gradients.outputs, effort=effort)
    for injection in (suspect for suspect in suspects if suspect.slices is None):
        if time.monotonic() > end:
            return
        found = effort.attempt(REPLAYS, partial(replayed.print_of, injection))
        if found is None:
            continue
        alike = replayed.alike(found, seen)
        if alike[~wrong].all() and alike[wrong].any():
            explains = frozenset(key for key, same in zip(weights, alike & wrong, strict=True) if same)
            yield Part(injection, explains, beyond=int((~alike & ~replayed.alike(found, right)).sum()))


def _most_of(
    remaining: Collection[TensorKey], likely: Collection[Part], observed: Observed, replayed: Replayed
) -> Part | None:
    """Return the fault that explains most of `remaining` and changes least besides, proven element by element."""

    def rank(part: Part) -> tuple[int, int]:
        return -len(part.explains.intersection(remaining)), part.beyond

    # Fingerprints rank the faults; only the first few are compared in full, since each costs a replay.
    for part in sorted(likely, key=rank):
        if part.explains.isdisjoint(remaining):
            return None
        proven = observed.partly_explained_by(replayed.gradients(part.injection))
        if not proven.isdisjoint(remaining):
            return part._replace(explains=proven)
    return None

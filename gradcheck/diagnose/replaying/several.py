"""Several mistakes at once: a few faults that explain every wrong tensor between them, where no single one does."""

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

#: The most mistakes that are made out at once.
MOST = 3


class Part(NamedTuple):
    """A fault, and the wrong tensors that it explains. What is right it leaves right.

    `beyond` is how many weights it would make wrong that came out otherwise: by another mistake.
    """

    injection: Injection
    explains: frozenset[TensorKey]
    beyond: int


def together(observed: Observed, replayed: Replayed, *, seconds: float, effort: Effort) -> tuple[Part, ...]:
    """The faults that explain all wrong tensors between them, the one that explains most first; () if there are none.

    Each explains some tensors alone: where one mistake changes what another one has made, neither is made out.

    Args:
        observed: a mismatch that no single fault explains.
        replayed: what was replayed already; the rest is replayed here.
        seconds: about how long that may take.
        effort: gets the replays that raise.
    """
    remaining, chosen = set(observed.failing), list[Part]()
    likely = list(_likely(observed, replayed, seconds=seconds, effort=effort))
    while remaining and len(chosen) < MOST:
        part = _most_of(remaining, likely, observed, replayed)
        if part is None:
            return ()
        chosen.append(part)
        remaining -= part.explains
    return () if remaining else tuple(chosen)


def _likely(observed: Observed, replayed: Replayed, *, seconds: float, effort: Effort) -> Iterator[Part]:
    """The faults that may explain some wrong weights and leave the right ones right, by their fingerprints."""
    end = time.monotonic() + seconds
    weights = [weight.key for weight in observed.problem.weights]
    wrong = np.array([key in observed.failing for key in weights])
    seen, right = replayed.fingerprint(observed.gradients), replayed.fingerprint(replayed.replays.right)
    for injection in replayed.suspects(own_slices=False, effort=effort):
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
    """The fault that explains most of what remains and does least beside, proven element by element."""

    def rank(part: Part) -> tuple[int, int]:
        return -len(part.explains.intersection(remaining)), part.beyond

    for part in sorted(likely, key=rank):
        if part.explains.isdisjoint(remaining):
            return None
        proven = observed.partly_explained_by(replayed.gradients(part.injection))
        if not proven.isdisjoint(remaining):
            return part._replace(explains=proven)
    return None

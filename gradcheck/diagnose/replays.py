"""Which injected faults give the gradients that were observed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.faults import FAULTS
from gradcheck.faults.replay import Replays
from gradcheck.faults.slicing import SlicingFault
from gradcheck.gradients.named import as_array
from gradcheck.models.microbatches import sliceable
from gradcheck.numerics import to_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from gradcheck.diagnose.observed import Agreement, Observed
    from gradcheck.faults.interface import Injection
    from gradcheck.gradients.interface import Gradients
    from gradcheck.models.problem import Problem, TensorKey

#: The most micro-batches that a candidate is suspected of.
MOST_SLICES = 16


class Match(NamedTuple):
    """A fault that gives the observed gradients."""

    injection: Injection
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Search:
    """What replaying found: the matches, one for each code, and how many replays time was left for."""

    matches: tuple[Match, ...]
    tried: int
    left: int


@dataclass
class Replayed:
    """The replays of one problem, and a fingerprint of each, so that none that cannot match is computed twice."""

    problem: Problem
    replays: Replays = field(init=False)
    _prints: dict[tuple[Any, ...], NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Computes nothing yet."""
        self.replays = Replays(self.problem)

    def gradients(self, injection: Injection) -> Gradients:
        """What the fault gives; its fingerprint is kept."""
        found = self.replays.gradients(injection)
        self._prints[_name(injection)] = fingerprint(found.tensors)
        return found

    def may_equal(self, injection: Injection, observed: NDArray[np.float64]) -> bool:
        """Whether the fault may give gradients of this fingerprint; true as long as it was not replayed."""
        kept = self._prints.get(_name(injection))
        if kept is None or kept.shape != observed.shape:
            return True
        return bool(np.all(np.abs(kept - observed) <= COARSE * np.maximum(np.abs(kept), np.abs(observed))))


def _name(injection: Injection) -> tuple[Any, ...]:
    return (injection.code, injection.place.text, injection.effect, injection.slices)


#: Fingerprints that differ by more than this share belong to different gradients.
COARSE = 1e-2


def fingerprint(tensors: Mapping[TensorKey, Any]) -> NDArray[np.float64]:
    """The norm of every weight's gradient, in order: -1 for None."""
    norms = []
    for key, tensor in tensors.items():
        if key.kind == "weight":
            array = as_array(tensor)
            norms.append(-1.0 if array is None else float(np.linalg.norm(to_array(array).astype(np.float64))))
    return np.array(norms)


def all_injections(problem: Problem) -> Iterator[Injection]:
    """Every fault at every place, the more specific faults first."""
    for fault in FAULTS:
        yield from fault.injections(problem)


def suspected(observed: Observed) -> list[Injection]:
    """The injections that may explain what was observed, the cheapest and likeliest first.

    A fault of the backward pass whose place is before the last wrong segment cannot have made that segment wrong.
    """
    last = observed.last_wrong_segment
    found = suspected_in(observed.problem, own_slices=not observed.gradients.outputs)
    efforts = [(_effort(injection, last), injection) for injection in found]
    possible = [(effort, i) for effort, i in efforts if effort.forward or not _too_early(i, last)]
    return [injection for _, injection in sorted(possible, key=itemgetter(0))]


def _too_early(injection: Injection, last: int | None) -> bool:
    """Whether its place is before the last wrong segment."""
    segment = injection.place.segment
    return segment is not None and last is not None and segment < last


def suspected_in(problem: Problem, *, own_slices: bool) -> list[Injection]:
    """Every fault that can be replayed on `problem`.

    A candidate may have taken the batch apart in a way of its own (`own_slices`): then all numbers of micro-batches
    are tried.
    """
    found = list(all_injections(problem))
    if own_slices and not problem.slices and sliceable(problem.model, problem.batch):
        most = min(int(problem.batch.x[0].shape[0]), MOST_SLICES)
        slicing = [fault for fault in FAULTS if isinstance(fault, SlicingFault)]
        found.extend(i for n in range(2, most + 1) for fault in slicing for i in fault.injections_over(problem, n))
    return found


class _Effort(NamedTuple):
    """What orders replays: the forward passes that they need, the kind of work, and whether the place is likely."""

    slices: int
    forward: bool
    backward: bool
    unlikely: bool


def _effort(injection: Injection, last: int | None) -> _Effort:
    return _Effort(
        slices=injection.slices or 0,
        forward=injection.steps is not None and injection.steps().changes_forward,
        backward=injection.steps is not None,
        unlikely=injection.place.segment != last,
    )


def search(observed: Observed, replayed: Replayed, *, seconds: float) -> Search:
    """Replays what is suspected until it is done or the time is over, and keeps what equals the observed gradients."""
    end = time.monotonic() + seconds
    candidates = suspected(observed)
    seen = fingerprint({key: observed.arrays.get(key) for key in (w.key for w in observed.problem.weights)})
    matches, tried = [], 0
    for injection in candidates:
        if time.monotonic() > end:
            break
        tried += 1
        if not replayed.may_equal(injection, seen):
            continue
        agreement = observed.explained_by(replayed.gradients(injection))
        if agreement is not None:
            matches.append(Match(injection, agreement))
    return Search(matches=_first_of_each_code(matches), tried=tried, left=len(candidates) - tried)


def _first_of_each_code(matches: list[Match]) -> tuple[Match, ...]:
    """For each fault the first place in the order of the backward pass; the more specific fault first."""
    precedence = {fault.code: i for i, fault in enumerate(FAULTS)}

    def rank(match: Match) -> tuple[int, bool, int]:
        place = match.injection.place
        return precedence[match.injection.code], place.everywhere, -(-1 if place.segment is None else place.segment)

    first: dict[str, Match] = {}
    for match in sorted(matches, key=rank):
        first.setdefault(match.injection.code, match)
    return tuple(first.values())

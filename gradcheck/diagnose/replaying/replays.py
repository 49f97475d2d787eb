"""Search for the injected faults that give the observed gradients."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck.batch.slices import sliceable
from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.diagnose.effort import REPLAYS, Effort
from gradcheck.diagnose.replaying.fingerprints import alike, imprint, nearly_alike
from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault
from gradcheck.faults.injection import Replay, Replays
from gradcheck.faults.traced import TracedReplays
from gradcheck.numerics import PRECISIONS, bytes_of
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from numpy.typing import NDArray

    from gradcheck.diagnose.evidence.observed import Agreement, Observed
    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem

#: The largest number of micro-batches that a candidate is suspected of.
MOST_SLICES = 16


class Match(NamedTuple):
    """A fault that gives the observed gradients, and how well it agrees."""

    injection: Injection
    agreement: Agreement


@dataclass(frozen=True, kw_only=True)
class Search:
    """The result of a search: a match for each code, and how many injections were tried, and left for lack of time."""

    matches: tuple[Match, ...]
    tried: int
    left: int


class Again(Mapping[TensorKey, Any]):
    """The tensors of a replay that has run before, by key: it runs again when the first of them is read."""

    def __init__(self, injection: Injection, run: Callable[[], Mapping[TensorKey, Any]]) -> None:
        """`run` returns the tensors of `injection`."""
        self.injection, self._run = injection, run

    @cached_property
    def _tensors(self) -> Mapping[TensorKey, Any]:
        return self._run()

    def __getitem__(self, key: TensorKey) -> Any:
        """Return the tensor of `key`."""
        return self._tensors[key]

    def __iter__(self) -> Iterator[TensorKey]:
        """Iterate over the keys."""
        return iter(self._tensors)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._tensors)


@dataclass
class Replayed:
    """The replays of one problem, and a fingerprint of each, so that a replay that cannot match runs only once.

    Attributes:
        without: codes that are never suspected.
        repeats: whether the observed gradients are those of one of these replays (`again`), not a candidate's.
        traced_agrees: as in `TracedReplays`; None to trace nothing.
        agreeing: tensors of the correct split that are known to equal the reference.
    """

    problem: Problem
    without: Collection[str] = ()
    repeats: bool = False
    traced_agrees: Callable[[Replays], bool] | None = None
    replays: Replays | TracedReplays = field(init=False)
    agreeing: set[TensorKey] = field(default_factory=set)
    _ran: dict[tuple[Any, ...], _Ran] = field(default_factory=dict)
    _suspects: dict[bool, list[Injection]] = field(default_factory=dict)
    _recent: OrderedDict[tuple[Any, ...], _Kept] = field(default_factory=OrderedDict)
    _known: dict[Replays, dict[int, tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare the replays; nothing is computed yet."""
        self.replays = (
            Replays(self.problem) if self.traced_agrees is None else TracedReplays(self.problem, self.traced_agrees)
        )

    def gradients(self, injection: Injection) -> Replay:
        """Return the gradients of a replay. Every fingerprint is kept, and the last replay's gradients.

        Where they may be asked for again, those of earlier replays are kept too, as far as there is room.
        """
        name = name_of(injection)
        found = self._kept(name, self.replays, injection)
        if name not in self._ran:
            self._ran[name] = _Ran(self._printed(found, self._known_beside(found.beside)), found.beside)
        return found

    def _kept(self, name: tuple[Any, ...], replays: Replays | TracedReplays, injection: Injection) -> Replay:
        """Return what is kept under `name`, or else the gradients of one of `replays`."""
        if name not in self._recent:
            self._make_room()  # before the next ones are computed: they may be large
            found = replays.gradients(injection)
            known = self._known_beside(found.beside)
            own = sum(bytes_of(as_array(tensor)) for tensor in found.tensors.values() if id(tensor) not in known)
            self._recent[name] = _Kept(found, own)
        return self._recent[name].gradients

    def _make_room(self) -> None:
        left = (ROOM if self.repeats else 0) - sum(kept.own for kept in self._recent.values())
        while self._recent and left <= 0:
            left += self._recent.popitem(last=False)[1].own

    def again(self, injection: Injection, seen: Replay) -> Replay:
        """Return `seen`, what a replay gave but for its tensors, with these: they are computed if one is read."""
        return replace(seen, tensors=Again(injection, lambda: self.gradients(injection).tensors))

    def ran_differently(self, one: Injection, other: Injection) -> bool:
        """Whether of two replays that have run one was traced, the other eager."""
        ran = [self._ran.get(name_of(injection)) for injection in (one, other)]
        return len({of.beside for of in ran if of is not None}) > 1

    def eagerly(self, injection: Injection) -> Gradients:
        """Return the gradients of a replay that has run, eagerly."""
        name, eager = name_of(injection), self.replays.eager
        return self._kept(name if self._ran[name].beside is eager else (*name, "eagerly"), eager, injection)

    def fingerprint(self, gradients: Gradients) -> NDArray[np.float64]:
        """Return the fingerprint of `gradients`, of shape (weights, 2).

        A missing gradient counts as zeros, for user code writes zeros in its place.
        """
        own = gradients.tensors
        return self._ran[name_of(own.injection)].fingerprint if isinstance(own, Again) else self._printed(gradients, {})

    def _printed(self, gradients: Gradients, known: Mapping[int, tuple[float, float]]) -> NDArray[np.float64]:
        tensors = [gradients.tensors.get(weight.key) for weight in self.problem.weights]
        found = [known[id(t)] if id(t) in known else imprint(t) for t in tensors]
        return np.array(found).reshape(len(tensors), 2)

    def print_of(self, injection: Injection) -> NDArray[np.float64]:
        """Return the fingerprint of a replay, which runs if it has not run before."""
        if name_of(injection) not in self._ran:
            self.gradients(injection)
        return self._ran[name_of(injection)].fingerprint

    def known_print(self, injection: Injection) -> NDArray[np.float64] | None:
        """Return the fingerprint of a replay that has run; None if it has not."""
        ran = self._ran.get(name_of(injection))
        return None if ran is None else ran.fingerprint

    def ruled_out(self, observed: Gradients) -> frozenset[tuple[Any, ...]]:
        """Return the names of replays that have run and cannot give the `observed` gradients."""
        own = self.fingerprint(observed)
        prints = np.array([ran.fingerprint for ran in self._ran.values()]).reshape(len(self._ran), *own.shape)
        likely = self.alike(prints, own)
        if isinstance(observed, Replay):
            other = [i for i, ran in enumerate(self._ran.values()) if ran.beside is not observed.beside]
            likely[other] = nearly_alike(prints[other], own, self._eps)
        names = list(self._ran)
        return frozenset(names[i] for i in np.flatnonzero(~likely.all(axis=1)))

    def alike(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return, for each weight, whether gradients with these fingerprints may be equal up to rounding.

        `one` may be several fingerprints, along a first axis.
        """
        return alike(one, other, self._eps) if self.repeats else nearly_alike(one, other, self._eps)

    @property
    def _eps(self) -> float:
        return PRECISIONS[compute_dtype(self.problem.precision)].eps

    def _known_beside(self, replays: Replays) -> Mapping[int, tuple[float, float]]:
        """Fingerprints of the correct split's gradients by tensor id: most faults leave most tensors as they are."""
        if replays not in self._known:
            tensors = (replays.right.tensors[weight.key] for weight in self.problem.weights)
            self._known[replays] = {id(tensor): imprint(tensor) for tensor in tensors if tensor is not None}
        return self._known[replays]

    def suspects(self, *, own_slices: bool, effort: Effort | None = None) -> list[Injection]:
        """Return the injections that apply, listed once: some faults run the model to find their places."""
        if own_slices not in self._suspects:
            found = suspected_in(self.problem, own_slices=own_slices, effort=effort)
            self._suspects[own_slices] = [injection for injection in found if injection.code not in self.without]
        return self._suspects[own_slices]


class _Ran(NamedTuple):
    """What stays of a replay that has run."""

    fingerprint: NDArray[np.float64]
    beside: Replays


class _Kept(NamedTuple):
    """Gradients of a replay that are kept, and the bytes of those that are not the correct split's."""

    gradients: Replay
    own: int


def name_of(injection: Injection) -> tuple[Any, ...]:
    """Return what tells an injection from every other of the problem."""
    # The effect too: a fault may have several variants at one place.
    return (injection.code, injection.place.text, injection.effect, injection.slices)


#: The bytes of gradients that are kept where replays run again.
ROOM = 2**29


def suspected(observed: Observed, replayed: Replayed, effort: Effort) -> list[Injection]:
    """Return the injections that may explain `observed`, the cheapest and likeliest first.

    A fault of the backward pass before the last wrong segment is left out: it cannot have made that segment wrong. It
    can where the loss differentiates the model: the inner backward pass is a part of the outer one's forward pass.
    """
    last = observed.last_wrong_segment if observed.problem.loss.of_model is None else None
    found = replayed.suspects(own_slices=not observed.gradients.outputs, effort=effort)
    possible = [injection for injection in found if may_have_made(injection, last)]
    own = _replay_of(observed)  # which costs nothing
    return sorted(possible, key=lambda injection: (injection is not own, _effort(injection, last)))


def may_have_made(injection: Injection, last: int | None) -> bool:
    """Whether a fault at its place can have made segment `last` wrong, the nearest to the loss that is."""
    segment = injection.place.segment
    # Over other slices every segment may differ: some normalise by the batch, or draw random numbers.
    anywhere = injection.slices is not None or _changes_forward(injection)
    return anywhere or segment is None or last is None or segment >= last


def suspected_in(
    problem: Problem, *, own_slices: bool, effort: Effort | None = None, only: Collection[str] | None = None
) -> list[Injection]:
    """Return every injection that applies to `problem`, at every place, the more specific faults first.

    With `only`, those of some codes. With `own_slices`, for a candidate that may slice the batch in its own way, every
    number of micro-batches is tried. With `effort`, a fault is left out if the search for its places raises.
    """
    searches = [
        (fault.code, partial(fault.injections, problem)) for fault in FAULTS if only is None or fault.code in only
    ]
    if own_slices and not problem.slices and sliceable(problem.model, problem.batch):
        most = min(problem.batch.size, MOST_SLICES)
        slicing = [fault for fault in FAULTS if isinstance(fault, SlicingFault)]
        searches += [(f.code, partial(f.injections_over, problem, n)) for n in range(2, most + 1) for f in slicing]
    found: list[Injection] = []
    for code, places in searches:
        found += places() if effort is None else effort.attempt(f"the places of {code}", partial(_all, places)) or ()
    return found


def _all(places: Callable[[], Iterator[Injection]]) -> list[Injection]:
    return list(places())


def _changes_forward(injection: Injection) -> bool:
    """Whether the injection changes a forward pass: its effects are not confined to earlier segments."""
    return injection.steps is not None and injection.steps().changes_forward


def _effort(injection: Injection, last: int | None) -> tuple[int, int]:
    """Return a sort key: the cost of the replay, then whether the place is the expected one."""
    # 0: changes finished gradients; 1: a backward pass on kept tapes; 2: both passes; above: both, over other slices.
    if injection.slices is not None:
        work = 2 + injection.slices
    elif injection.steps is None:
        work = 0
    else:
        work = 2 if _changes_forward(injection) else 1
    return work, 0 if injection.place.segment == last else 1


def search(observed: Observed, replayed: Replayed, *, seconds: float, effort: Effort | None = None) -> Search:
    """Replay the suspects until all are done or the time is over, and return those that give the observed gradients.

    If some equal them up to rounding, those that are merely near are dropped. A replay that raises is skipped.
    """
    effort, end = effort or Effort(), time.monotonic() + seconds
    candidates = suspected(observed, replayed, effort)
    ruled_out = replayed.ruled_out(observed.gradients)
    matches: list[Match] = []
    tried = 0
    for injection in candidates:
        if time.monotonic() > end:
            break
        tried += 1
        if name_of(injection) in ruled_out or _never_named(injection, matches):
            continue
        agreement = effort.attempt(REPLAYS, partial(agreement_with, observed, replayed, injection))
        if agreement is not None:
            matches.append(Match(injection, agreement))
    closest = [match for match in matches if match.agreement.close] or matches
    return Search(matches=_first_of_each_code(closest), tried=tried, left=len(candidates) - tried)


def agreement_with(observed: Observed, replayed: Replayed, injection: Injection) -> Agreement | None:
    """Return how well a replay agrees with all that was observed; None if it does not."""
    own = _replay_of(observed)
    if injection is own:
        return observed.whole_agreement
    if own is not None and replayed.ran_differently(own, injection):
        observed = replace(observed, gradients=replayed.eagerly(own))  # where both round alike
        return observed.explained_by(replayed.eagerly(injection))
    return observed.explained_by(replayed.gradients(injection))


def _replay_of(observed: Observed) -> Injection | None:
    """Return the fault of which a replay was observed; None for a candidate."""
    seen = observed.gradients.tensors
    return seen.injection if isinstance(seen, Again) else None


def _never_named(injection: Injection, matches: Sequence[Match]) -> bool:
    """Whether the fault would not be named beside `matches`, even if it were one of them."""
    own = _rank(injection)
    if injection.slices is not None:  # costly, and named only if it comes first
        return any(_rank(match.injection).code < own.code for match in matches)
    found = (_rank(match.injection) for match in matches if match.agreement.close)
    return any(rank.code == own.code and rank <= own for rank in found)


def _first_of_each_code(matches: Sequence[Match]) -> tuple[Match, ...]:
    """Return one match for each code, in the order of `FAULTS`: its first place in the order of the backward pass."""
    first: dict[str, Match] = {}
    for match in sorted(matches, key=lambda match: _rank(match.injection)):
        first.setdefault(match.injection.code, match)
    return tuple(first.values())


class _Rank(NamedTuple):
    """In what order matches are named: by code, each at its first place in the order of the backward pass."""

    code: int
    everywhere: bool
    place: int


def _rank(injection: Injection) -> _Rank:
    place = injection.place
    precedence = next(i for i, fault in enumerate(FAULTS) if fault.code == injection.code)
    return _Rank(precedence, place.everywhere, 1 if place.segment is None else -place.segment)

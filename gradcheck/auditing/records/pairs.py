"""Which activations of one process came into another, by their values."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.records.record import Activation, Came, Left, Record

_A = TypeVar("_A", bound="Activation")


@dataclass(frozen=True, eq=False)
class Crossing:
    """An activation of one process, as it came into others.

    Attributes:
        sender: its process.
        left: its gradient calls there; one of those that were not asked for only if there is no other.
        came: the tensors that it came in as, each with its process.
        lossy: the dtype that it was rounded to on the way, or "".
    """

    sender: Record
    left: tuple[Left, ...]
    came: tuple[tuple[Record, Came], ...]
    lossy: str

    @property
    def place(self) -> str:
        """The boundary in words."""
        return f"{self.sender.name} → {', '.join(dict.fromkeys(record.name for record, _ in self.came))}"


def crossings(records: Sequence[Record]) -> list[Crossing]:
    """Return what crosses between the records: the last boundary of the forward pass first, as the backward pass goes.

    The same values several times, as of a part that is not trained, are told apart by their order.
    """
    found = []
    for sender in records:
        asked: set[tuple[str, int]] = set()
        for (digest, turn), left in sorted(_in_turn(sender.left).items(), key=lambda item: _order(item[1])):
            came, lossy = [], ""
            for receiver in records:
                for (_, other), tensors in _in_turn(receiver.came).items() if receiver is not sender else ():
                    lost = left[0].lost_by(tensors[0])
                    if lost is not None and other == turn:
                        came += [(receiver, tensor) for tensor in tensors]
                        lossy = lossy or lost
            targets = tuple(one for one in left if one.asked)
            if targets:
                asked |= {(other, left[0].update) for other in (digest, *left[0].rounded.values())}
            if came and (targets or (digest, left[0].update) not in asked):
                found.append(Crossing(sender, targets or left[:1], tuple(came), lossy))
    receivers: dict[str, set[str]] = defaultdict(set)
    for crossing in found:
        receivers[crossing.sender.name] |= {record.name for record, _ in crossing.came}
    return sorted(found, key=lambda crossing: _depth(crossing.sender.name, receivers, frozenset()))


def _depth(name: str, receivers: dict[str, set[str]], before: frozenset[str]) -> int:
    """Return how many boundaries lie behind a process, at most; on a way round each process counts once."""
    after = receivers.get(name, set()) - before
    return max((1 + _depth(other, receivers, before | {name}) for other in after), default=0)


def _order(left: Sequence[Activation]) -> tuple[int, bool]:
    """Return what sorts by update, those that were asked for first."""
    return left[0].update, not any(getattr(one, "asked", True) for one in left)


def _in_turn(activations: Sequence[_A]) -> dict[tuple[str, int], tuple[_A, ...]]:
    """Return the activations by their values, and by how many updates with the same values came before."""
    updates: dict[str, list[int]] = defaultdict(list)
    found: dict[tuple[str, int], tuple[_A, ...]] = {}
    for one in activations:
        turns = updates[one.digest]
        if one.update not in turns:
            turns.append(one.update)
        key = one.digest, turns.index(one.update)
        found[key] = (*found.get(key, ()), one)
    return found

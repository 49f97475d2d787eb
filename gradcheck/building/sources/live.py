"""Objects handed over from Python in place of a source: each is built by lending it, and then by copying it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.copies import remade, take_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveModel:
    """A model that exists already.

    Attributes:
        name: what messages call it.
        make: returns it, or a copy of it in the current precision.
        settle: called once the model has its variables: gives a copy the values of the object.
        specs: its inputs: KerasTensors with the batch axis None, in the structure that it takes; None if unknown.
        weights: there is no file of weights.
    """

    name: str
    make: Callable[[], Any]
    settle: Callable[[], None] = lambda: None
    specs: Any = None
    weights: None = None


def is_live(source: Any) -> bool:
    """Whether a model's source is an object, or a chain of objects."""
    return any(isinstance(one, LiveModel) for one in (source, *getattr(source, "segments", ())))


def build_live(source: LiveModel, base: Path) -> Any:  # noqa: ARG001 - the interface of every source
    """Return the object of `source`."""
    return source.make()


@dataclass(eq=False, kw_only=True)
class Lent:
    """Objects that a problem is built of, together: a layer that two of them share is shared by their copies too.

    Attributes:
        objects: the user's own, in order.
        precision: the dtype policy in which they compute.
        copied: makes the copies, without their values; `remade` for models.
    """

    objects: Sequence[Any]
    precision: str
    copied: Callable[[Sequence[Any]], Sequence[Any]] = field(default=remade)
    _given: bool = False
    _current: Sequence[Any] = ()

    def take(self, index: int) -> Any:
        """Return object `index`: itself in the first build, if that is in its own precision, and else a copy.

        A build takes every object once, the first one first.

        Raises:
            NotApplicable: GC051 if Keras cannot copy it.
        """
        if index == 0:
            own = not self._given and keras.config.dtype_policy().name == self.precision
            self._given = self._given or own
            self._current = self.objects if own else self.copied(self.objects)
        return self._current[index]

    def settle(self, index: int) -> None:
        """Give object `index`, if it is a copy, the values of the original.

        Raises:
            NotApplicable: GC051 if the copy has other layers or variables.
        """
        if self._current[index] is not self.objects[index]:
            take_values(self.objects[index], self._current[index])

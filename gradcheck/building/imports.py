"""The user's modules that one run has imported: each once, however often their code is loaded.

A script that trains when it is imported would train again at each import. Objects that a module creates at its top are
the exception: a model that is built a second time (in float64, or as a copy to train) must be another object.
"""

from __future__ import annotations

import weakref
from collections import Counter, defaultdict
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gradcheck.keras_private import all_layers, of_session

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

_CURRENT: ContextVar[Imports | None] = ContextVar("imports", default=None)


class Names(NamedTuple):
    """The names that were taken in a Keras session at some time, and the files that took them."""

    taken: dict[str, int]
    files: set[tuple[Path, str]]

    @classmethod
    def of_now(cls) -> Names:
        """Return the names taken in the current session."""
        return cls(dict(_taken()), set(_in_session()))


@dataclass(frozen=True, eq=False)
class Imports:
    """The modules that were imported, and the side effects of importing them.

    Attributes:
        files: modules by path, or by folder and name of a module beside the config.
        beside: by folder, the modules that others imported from it.
        warnings: remarks on the imports for the reader.
        names: by file, how many automatic names of each kind it took from Keras: `dense`, `dense_1`, ...
    """

    files: dict[tuple[Path, str], ModuleType] = field(default_factory=dict)
    beside: dict[Path, dict[str, ModuleType]] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    names: dict[tuple[Path, str], Counter[str]] = field(default_factory=dict)
    _made: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)

    @contextmanager
    def taking_names(self, key: tuple[Path, str]) -> Iterator[None]:
        """Record the names that an import inside takes; in a later session `take_names` takes them again."""
        before = Counter(_taken())
        yield
        self.names[key] = Counter(_taken()) - before
        _in_session().add(key)

    def take_names(self, key: tuple[Path, str]) -> None:
        """Take the names once more in another Keras session, so that models built there have the same names."""
        if key not in _in_session():
            _in_session().add(key)
            for name, count in self.names[key].items():
                _taken()[name] += count

    def forget(self, folder: Path, names: Names) -> None:
        """Make the next import from `folder` a fresh one, which takes the same names after `names`."""
        _taken().clear()
        _taken().update(names.taken)
        _in_session().intersection_update(names.files)
        for key in [key for key in self.files if key[0] == folder]:
            del self.files[key]
        self.beside.pop(folder, None)

    def seen(self, made: Any) -> bool:
        """Whether a part of `made`, an object that user code returned, was returned before; all parts are recorded."""
        parts = [part for part in _parts(made) if isinstance(part, _STATEFUL)]
        again = any(part in self._made for part in parts)
        for part in parts:
            self._made.add(part)
        return again


def _taken() -> Any:
    """Return how many objects of each kind Keras has named in this session."""
    return of_session("object_name_uids", defaultdict(int))


def _in_session() -> set[tuple[Path, str]]:
    """Return the files whose names are taken in this session."""
    found: set[tuple[Path, str]] = of_session("gradcheck_names", set())
    return found


#: Classes whose objects belong to one session: their variables and precision are fixed when they are created.
_STATEFUL = (keras.Layer, keras.losses.Loss)


def _parts(made: Any) -> list[Any]:
    return all_layers([made]) if isinstance(made, keras.Layer) else [made]


def is_made_once(value: Any) -> bool:
    """Whether an object at the top of a module belongs to the session in which it was imported."""
    return isinstance(value, _STATEFUL)


@contextmanager
def imported_once() -> Iterator[Imports]:
    """Import each of the user's modules once inside; a nested block uses the outer one's imports."""
    outer = _CURRENT.get()
    if outer is not None:
        yield outer
        return
    imports = Imports()
    token = _CURRENT.set(imports)
    try:
        yield imports
    finally:
        _CURRENT.reset(token)


def imports_of(folder: Path) -> dict[str, ModuleType]:
    """Return the modules that others have imported from `folder`, as a dict to be extended."""
    imports = _CURRENT.get()
    return {} if imports is None else imports.beside.setdefault(folder, {})


@contextmanager
def training_told(reference: str, imports: Imports) -> Iterator[None]:
    """Record a warning if an import inside trains something."""
    optimizer, steps = keras.optimizers.Optimizer, []
    apply = optimizer.apply

    def counted(*args: Any, **kwargs: Any) -> Any:
        steps.append(1)
        return apply(*args, **kwargs)

    optimizer.apply = counted
    try:
        yield
    finally:
        optimizer.apply = apply
        if steps:
            imports.warnings[
                f"importing {reference} trains something: what is at the top of the file runs when it is imported. "
                'Put the training under `if __name__ == "__main__":`'
            ] = None

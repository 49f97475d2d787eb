"""The modules of the user's that one run has imported: each once, however often their code is asked for.

A script that trains when it is imported would train again at each import. What a module makes once, at its top, is the
exception: a model that is built a second time (in float64, or as a copy to train) has to be another object.
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
    """The names that were taken in a session of Keras's at some time, and by which files."""

    taken: dict[str, int]
    files: set[tuple[Path, str]]

    @classmethod
    def of_now(cls) -> Names:
        """As it is."""
        return cls(dict(_taken()), set(_in_session()))


@dataclass(frozen=True, eq=False)
class Imports:
    """What was imported, and what came of it.

    Attributes:
        files: by path, or by folder and name of a module beside the config.
        beside: by folder the modules that others imported from it.
        warnings: what a reader should know of the imports.
        names: by file how many automatic names of each kind it took from Keras: `dense`, `dense_1`, ...
    """

    files: dict[tuple[Path, str], ModuleType] = field(default_factory=dict)
    beside: dict[Path, dict[str, ModuleType]] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    names: dict[tuple[Path, str], Counter[str]] = field(default_factory=dict)
    _made: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)

    @contextmanager
    def taking_names(self, key: tuple[Path, str]) -> Iterator[None]:
        """Notes the names that what is imported inside takes; in a later session they are taken at `take_names`."""
        before = Counter(_taken())
        yield
        self.names[key] = Counter(_taken()) - before
        _in_session().add(key)

    def take_names(self, key: tuple[Path, str]) -> None:
        """Takes the names once more in another session of Keras's, so that what is built there has the same ones."""
        if key not in _in_session():
            _in_session().add(key)
            for name, count in self.names[key].items():
                _taken()[name] += count

    def forget(self, folder: Path, names: Names) -> None:
        """Makes the next import of anything in `folder` a fresh one, which takes the same names after `names`."""
        _taken().clear()
        _taken().update(names.taken)
        _in_session().intersection_update(names.files)
        for key in [key for key in self.files if key[0] == folder]:
            del self.files[key]
        self.beside.pop(folder, None)

    def seen(self, made: Any) -> bool:
        """Whether some of what user code made was made before; it is remembered."""
        parts = [part for part in _parts(made) if isinstance(part, _STATEFUL)]
        again = any(part in self._made for part in parts)
        for part in parts:
            self._made.add(part)
        return again


def _taken() -> Any:
    """How many objects of each kind Keras has named in this session."""
    return of_session("object_name_uids", defaultdict(int))


def _in_session() -> set[tuple[Path, str]]:
    """The files whose names are taken in this session."""
    found: set[tuple[Path, str]] = of_session("gradcheck_names", set())
    return found


#: What belongs to one session: its variables and its precision are those of when it was made.
_STATEFUL = (keras.Layer, keras.losses.Loss)


def _parts(made: Any) -> list[Any]:
    return all_layers([made]) if isinstance(made, keras.Layer) else [made]


def is_made_once(value: Any) -> bool:
    """Whether an object at the top of a module belongs to the session in which it was imported."""
    return isinstance(value, _STATEFUL)


@contextmanager
def imported_once() -> Iterator[Imports]:
    """Inside, each module of the user's is imported once; within another such block it is the outer one."""
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
    """The modules that others have imported from `folder`; to be added to."""
    imports = _CURRENT.get()
    return {} if imports is None else imports.beside.setdefault(folder, {})


@contextmanager
def training_told(reference: str, imports: Imports) -> Iterator[None]:
    """Warns if what is imported inside trains something."""
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

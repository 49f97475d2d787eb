"""What the user's own function refers to: the values that its code names, and those of the functions that it calls."""

from __future__ import annotations

import functools
import inspect
import types
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import is_foreign

if TYPE_CHECKING:
    from collections.abc import Iterator


class Named:
    """The values that a function's code names in its closure and module, followed through functions and objects.

    Attributes:
        values: every value, each once; of an object of the user's own also its attributes, as a mapping.
    """

    def __init__(self, function: Any) -> None:
        """Look at `function`: a plain one, a method, a `functools.partial` or what `tf.function` returns."""
        self.values: list[Any] = []
        self._cells: list[tuple[Any, Any]] = []
        self._globals: list[tuple[dict[str, Any], str, Any]] = []
        self._seen: dict[int, Any] = {}
        self._follow(function)

    def of_type(self, kind: type) -> list[Any]:
        """Return the values of one type, also those inside lists, tuples and mappings."""
        flat = (inner for value in self.values for inner in _inner(value))
        return list({id(value): value for value in flat if isinstance(value, kind)}.values())

    @contextmanager
    def bound_as_before(self) -> Iterator[None]:
        """Afterwards bind the names of closures and modules to the same values as before."""
        try:
            yield
        finally:
            for cell, value in self._cells:
                cell.cell_contents = value
            for module, name, value in self._globals:
                module[name] = value

    def _follow(self, value: Any) -> None:
        if id(value) in self._seen:
            return
        self._seen[id(value)] = value
        self.values.append(value)
        if isinstance(value, functools.partial):
            self._follow_all(value.func, *value.args, *value.keywords.values())
        elif isinstance(value, types.MethodType):
            self._follow_all(value.__func__, value.__self__)
        elif hasattr(value, "python_function"):  # of tf.function
            self._follow(value.python_function)
        elif isinstance(value, types.FunctionType):
            if not is_foreign(value.__code__.co_filename) or value.__module__ == "__main__":
                self._follow_code(value)
        elif not isinstance(value, (type, types.ModuleType, keras.Operation)) and _is_users(type(value)):
            attributes = vars(value)
            self.values.append(attributes)
            self._follow_all(*attributes.values())
            if callable(value):
                self._follow(type(value).__call__)

    def _follow_all(self, *values: Any) -> None:
        for value in values:
            self._follow(value)

    def _follow_code(self, function: types.FunctionType) -> None:
        for cell in function.__closure__ or ():
            try:
                value = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            self._cells.append((cell, value))
            self._follow(value)
        names, modules = _names(function.__code__), [function.__globals__]
        # `train.optimizer` looks both names up, the second one in a module.
        modules += [vars(m) for name in names if _is_users_module(m := function.__globals__.get(name))]
        for module in modules:
            for name in names & module.keys():
                self._globals.append((module, name, module[name]))
                self._follow(module[name])


def _names(code: types.CodeType) -> set[str]:
    """Return the names that code and the functions inside it look up."""
    inside = (constant for constant in code.co_consts if inspect.iscode(constant))
    return {*code.co_names}.union(*map(_names, inside))


def _is_users_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and not is_foreign(getattr(value, "__file__", None) or "")


def _is_users(cls: type) -> bool:
    """Whether objects of a class have attributes, and the class is the user's own."""
    try:
        return cls.__dictoffset__ != 0 and not is_foreign(inspect.getfile(cls))
    except (TypeError, OSError):  # of a notebook, or built in
        return cls.__module__ == "__main__" and cls.__dictoffset__ != 0


def _inner(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _inner(one)

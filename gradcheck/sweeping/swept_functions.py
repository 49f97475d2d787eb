"""The functions that are swept, found by name, and the ways to call each."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.user_code import load_module
from gradcheck.config.sections.recipe import CallCase, Leaf
from gradcheck.errors import UsageError
from gradcheck.phrases import did_you_mean
from gradcheck.sweeping.recipes import given, shipped, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: The modules that are swept if nothing is named, by the names that code uses.
MODULES = {"keras.ops": keras.ops, "tf.math": tf.math, "tf.nn": tf.nn, "tf.linalg": tf.linalg}
#: The most differentiated tensors of a function without a recipe.
MOST_GUESSED = 3


@dataclass(frozen=True, eq=False)
class Function:
    """A function to be swept.

    Attributes:
        reference: `module:name`, by which it is found again.
        function: the function itself.
        cases: the ways to call it.
        module: where it is found; None for a function that was handed over.
    """

    reference: str
    function: Callable[..., Any]
    cases: tuple[CallCase, ...]
    module: Any = None

    @property
    def name(self) -> str:
        """How code refers to it: `keras.ops.ldexp`; of a module of one's own `my_ops.fn`."""
        module, _, attribute = self.reference.partition(":")
        return f"{Path(module).stem if module.endswith('.py') else module}.{attribute}"

    @property
    def own_module(self) -> dict[str, Any]:
        """The module by the name that code imports it by; empty for Keras's and TensorFlow's own."""
        name = self.name.rpartition(".")[0]
        return {} if name in MODULES or self.module is None else {name: self.module}


def references(asked: Sequence[str], base: Path) -> list[str]:
    """Return the reference of every function that `asked` names; without any those of `MODULES`.

    A function that is on the list already, under another name, is left out.

    Args:
        asked: modules (`tf.math`, `package.module`, `./my_ops.py`), functions in them (`tf.math.xlogy`,
            `./my_ops.py:fn`), or names of functions of Keras and TensorFlow alone (`xlogy`).
        base: the folder that files are relative to.

    Raises:
        UsageError: GC010 for a name that there is not.
        KeyedError: GC028 for a file or a module that there is not.
    """
    seen: dict[int, str] = {}
    for reference in (found for name in asked or MODULES for found in _expanded(name, base)):
        seen.setdefault(id(_object(reference, base)), reference)
    return list(seen.values())


def function_of(reference: str, base: Path, recipes: Path | None = None) -> Function:
    """Return the function of a reference, with its recipe: its attribute `gradcheck`, or one of a file, or a guess.

    Raises:
        ConfigErrors: for a recipe with mistakes.
    """
    module, _, name = reference.partition(":")
    function = _object(reference, base)
    own = getattr(function, "gradcheck", None)
    if own is not None:
        cases = given(own, f"{reference}.gradcheck")
    elif module in MODULES:
        cases = shipped(module).get(name, ())
    else:
        file = recipes or (base / module).with_suffix(".recipes.yaml")
        cases = written(file).get(name, ()) if recipes or file.is_file() else ()
    return Function(reference, function, cases or _guessed(function), _module(module, base))


def _object(reference: str, base: Path) -> Any:
    module, _, name = reference.partition(":")
    return getattr(_module(module, base), name)


def _module(name: str, base: Path) -> Any:
    return MODULES.get(name) or load_module(name, base)


def _expanded(name: str, base: Path) -> Iterator[str]:
    """Yield the references of one function, or of all public functions of one module."""
    module, colon, attribute = name.partition(":")
    if not colon and name not in MODULES and not name.endswith(".py"):
        module, _, attribute = name.rpartition(".")
        if not module:
            yield from _everywhere(name)
            return
        if module not in MODULES:  # package.module
            module, attribute = name, ""
    known = _public(_module(module, base))
    if attribute and attribute not in known:
        raise _unknown(name, attribute, module, known)
    yield from (f"{module}:{each}" for each in known if attribute in ("", each))


def _everywhere(name: str) -> Iterator[str]:
    """Yield the references of a function that is named without its module."""
    holding = [module for module, content in MODULES.items() if name in _public(content)]
    if not holding:
        known = [other for content in MODULES.values() for other in _public(content)]
        raise _unknown(name, name, ", ".join(MODULES), known)
    yield from (f"{module}:{name}" for module in holding)


def _public(module: Any) -> list[str]:
    """Return the names of the functions that a module offers; of one's own module those that it defines itself."""
    names = [name for name in sorted(getattr(module, "__all__", None) or dir(module)) if not name.startswith("_")]
    members = {name: getattr(module, name, None) for name in names}
    ours = module in MODULES.values() or hasattr(module, "__all__")
    return [
        name
        for name, value in members.items()
        if callable(value)
        and not inspect.isclass(value)
        and (ours or getattr(value, "__module__", None) == module.__name__)
    ]


def _unknown(name: str, word: str, where: str, known: Sequence[str]) -> UsageError:
    message = f"there is no function `{word}` in {where}. Received: {name}"
    otherwise = "name a function, a module such as tf.math, or a file such as ./my_ops.py"
    return UsageError(message, code="GC010", help=did_you_mean(word, known, otherwise))


def _guessed(function: Callable[..., Any]) -> tuple[CallCase, ...]:
    """Return the call with as many tensors as the function has required arguments; with one if that is not known."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return (CallCase(args=(Leaf(),)),)
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]
    return (CallCase(args=(Leaf(),) * max(1, min(len(required), MOST_GUESSED))),)

"""The names and arguments of Keras's public classes, read from the installed Keras.

`python -m gradcheck.building.sources.keras_signatures` writes them to the file that `gradcheck.config.keras_table`
reads, so that a config can be checked without TensorFlow. Run it when the newest Keras is another release.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.config.keras_table import FILE, REQUIRED
from gradcheck.keras_private import names_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Arguments that a constructor takes out of its `**kwargs`.
_TAKEN_OUT = re.compile(r'kwargs\.(?:pop|get)\(\s*"(\w+)"|"(\w+)" in kwargs')
#: How docstrings begin to describe a number, or a list of numbers.
_NUMBER = re.compile(
    r"(?:(?:a|an|single|positive|non-negative|desired|output|python)\s+)*"
    r"(?:ints?|integers?|floats?|(?:number|size)\s+of|tuple\s+of\s+(?:two|2|3|integers))\b",
    re.IGNORECASE,
)
#: Functions of Keras's modules that are no object of their kind.
_NOT_A_NAME = frozenset({"get", "serialize", "deserialize", "legacy", "schedules"})
#: Kinds of arguments by the end of their names.
_KINDS = {
    "activation": "activation",
    "_initializer": "initializer",
    "_regularizer": "regularizer",
    "_constraint": "constraint",
}


def table() -> dict[str, Any]:
    """Return the release of Keras, and for each module its names with their arguments."""
    optimizers, schedules = keras.optimizers, keras.optimizers.schedules
    return {
        "keras": keras.__version__,
        "layers": _classes(keras.layers, keras.layers.Layer),
        "losses": _classes(keras.losses, keras.losses.Loss),
        "optimizers": _classes(optimizers, optimizers.Optimizer),
        "schedules": _classes(schedules, schedules.LearningRateSchedule),
        "initializers": _classes(keras.initializers, keras.initializers.Initializer),
        "regularizers": _classes(keras.regularizers, keras.regularizers.Regularizer),
        "constraints": _classes(keras.constraints, keras.constraints.Constraint),
        "applications": {
            name: _described(value)
            for name, value in sorted(vars(keras.applications).items())
            if name[:1].isupper() and callable(value)
        },
        "strings": {
            "activation": _strings(keras.activations),
            "initializer": _strings(keras.initializers),
            "regularizer": _strings(keras.regularizers),
            "constraint": _strings(keras.constraints),
        },
    }


def _classes(module: Any, base: type) -> dict[str, dict[str, str]]:
    classes = {name: value for name, value in vars(module).items() if _is_public(name, value, base)}
    return {name: _described(value) for name, value in sorted(classes.items())}


def _is_public(name: str, value: Any, base: type) -> bool:
    return name[:1].isupper() and inspect.isclass(value) and issubclass(value, base) and value is not base


def _strings(module: Any) -> list[str]:
    """Return the strings that Keras's `get` of this module knows: its public names, and short ones such as `normal`."""
    public = (name for name, value in vars(module).items() if callable(value))
    return sorted({*names_in(module), *public} - _NOT_A_NAME)


def _described(constructor: Callable[..., Any]) -> dict[str, str]:
    """Return the kind of each argument, with the mark of those that are required."""
    found = arguments_of(constructor) or {}
    told = inspect.getdoc(constructor) or ""
    return {name: _kind(name, default, told) for name, default in found.items()}


def _kind(name: str, default: Any, told: str) -> str:
    mark = REQUIRED if default is inspect.Parameter.empty else ""
    by_name = next((kind for ending, kind in _KINDS.items() if name.endswith(ending)), None)
    if by_name is not None:
        return by_name + mark
    if isinstance(default, bool):
        return f"flag{mark}"
    if isinstance(default, (int, float)):
        return f"number{mark}"
    described = re.search(rf"^\s*{name}:\s*((?:.+\n?)+?)(?=^\s*\w+:|\Z|^\s*$)", told, re.MULTILINE)
    says_number = described is not None and _NUMBER.match(described[1]) and "str" not in described[1].lower()
    return f"number{mark}" if says_number and (mark or default is None) else mark


def arguments_of(constructor: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the arguments of a function or class, each with its default (`Parameter.empty` if it is required).

    A class that hands `**kwargs` on to its base has the arguments of the base too, and those that it takes out of them.
    None if it takes arguments that cannot be known.
    """
    found: dict[str, Any] = {}
    rest = (
        True  # whether positional arguments may be handed on as well: else the class gives its base those it requires
    )
    for depth, function in enumerate(_constructors(constructor)):
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # a builtin has no signature
            return None
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        for parameter in named[1 if inspect.isclass(constructor) else 0 :]:
            is_required = parameter.default is parameter.empty
            if rest or not is_required:
                found.setdefault(parameter.name, None if depth and is_required else parameter.default)
        found |= dict.fromkeys((name for name in _taken_out(function) if name not in found), None)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            return found
        rest = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    # Keras's own base classes raise for what is left of `**kwargs`; of any other function they are unknown.
    of_keras = inspect.isclass(constructor) and any(c.__module__.startswith("keras.") for c in constructor.__mro__)
    return found if of_keras else None


def _constructors(constructor: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Yield the functions that get the arguments, one after the other as long as each takes `**kwargs`."""
    if not inspect.isclass(constructor):
        yield constructor
        return
    for cls in constructor.__mro__:
        if "__init__" in vars(cls):
            yield vars(cls)["__init__"]
        if cls is keras.Layer:  # what follows is TensorFlow's
            return


def _taken_out(function: Callable[..., Any]) -> list[str]:
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return []
    return [one or other for one, other in _TAKEN_OUT.findall(source)]


def written() -> str:
    """Return the text of the file."""
    return json.dumps(table(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")

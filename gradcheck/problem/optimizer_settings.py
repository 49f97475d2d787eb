"""The settings of an optimizer in words, and those in which two differ."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from gradcheck.problem.optimizer import innermost

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Entries of a configuration that do not change what an optimizer does.
_NAMES = frozenset({"name", "is_legacy_optimizer"})


def in_words(optimizer: Any, beside: Any = None) -> str:
    """Return class and settings as a person would write them: `Adam(learning_rate=0.01)`.

    Settings with the default value of the class are left out. If `beside` is an optimizer of the same class, only the
    learning rate and the settings in which they differ are given.
    """
    optimizer, other = innermost(optimizer), innermost(beside)
    found = settings(optimizer)
    if type(optimizer) is type(other):
        usual = settings(other)
    else:
        parameters = inspect.signature(type(optimizer)).parameters.values()
        usual = {parameter.name: parameter.default for parameter in parameters}
    shown = {key: value for key, value in found.items() if key == "learning_rate" or usual.get(key) != value}
    return f"{type(optimizer).__name__}({', '.join(f'{key}={_shown(value)}' for key, value in shown.items())})"


def differ(one: Any, other: Any) -> bool:
    """Whether two optimizers have another class, or other settings."""
    one, other = innermost(one), innermost(other)
    return type(one) is not type(other) or settings(one) != settings(other)


def settings(optimizer: Any) -> Mapping[str, Any]:
    """Return the arguments that decide what an optimizer does."""
    config = optimizer.get_config()
    return {key: _rounded(value) for key, value in config.items() if key not in _NAMES}


def _rounded(value: Any) -> Any:
    """Return a number as it was written: variables keep it in float32."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _shown(value: Any) -> str:
    """Return a setting: an object, such as a schedule, by class and arguments."""
    if isinstance(value, dict) and "class_name" in value:
        arguments = {key: of for key, of in value.get("config", {}).items() if key not in _NAMES}
        return f"{value['class_name']}({', '.join(f'{key}={_shown(of)}' for key, of in arguments.items())})"
    return repr(value)

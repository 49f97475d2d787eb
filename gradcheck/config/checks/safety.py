"""`--safe`: search for the values of a config that would run code, before anything is imported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gradcheck.config.findings import Finding
from gradcheck.config.schema import Config
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.config.findings import KeyPath
    from gradcheck.config.load import LoadedConfig

#: `./file.py:Name` or `package.module:Name`, in any value.
_REFERENCE = re.compile(r"^[\w./\\-]+:[A-Za-z_][\w.]*$")
#: Keys whose value names the user's code, or makes Keras import a module that the config names.
_CODE_KEYS = frozenset({"factory", "train_step", "surrogate", "numpy_layer", "module", "registered_name"})
#: The sections that may name code; in others a colon is only a colon (devices, names of calls).
_SECTIONS = ("model", "data", "loss", "methods", "train")


def refuse_code(loaded: LoadedConfig) -> None:
    """Refuse a config that may run code.

    Raises:
        ConfigErrors: GC029 for each such value: factories, the user's layers and losses, candidates, trusted files.
    """
    data = _plain(loaded)
    findings = [finding for section in _SECTIONS for finding in _code(data.get(section), (section,))]
    if findings:
        raise ConfigErrors([*map(loaded.mistake, findings)])


def _plain(loaded: LoadedConfig) -> dict[Any, Any]:
    """Return the config as plain types if it was read from a file, otherwise the fields of its model."""
    if loaded.document is not None:
        return loaded.document.data()
    return {key: getattr(loaded.config, key) for key in Config.model_fields}


def _code(value: Any, path: KeyPath) -> Iterator[Finding]:
    """Yield a finding for each value below `value` that would run code."""
    if hasattr(value, "model_fields"):
        value = {key: getattr(value, key) for key in type(value).model_fields}
    if isinstance(value, dict):
        for key, inner in value.items():
            if (key in _CODE_KEYS and inner is not None) or _is_code(key) or (key == "trust" and inner is True):
                yield _finding((*path, key), key)
            else:
                yield from _code(inner, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _code(inner, (*path, index))
    elif _is_code(value) and not _names_a_tensor(path):
        yield _finding(path, value)


def _is_code(value: Any) -> bool:
    return isinstance(value, str) and (bool(_REFERENCE.match(value)) or value == "Lambda")


def _names_a_tensor(path: KeyPath) -> bool:
    """Whether the value at `path` is the name of a layer or of one of its outputs, such as `lstm:1`."""
    return any(key in {"inputs", "outputs", "call", "call_kwargs"} for key in path[2:])


def _finding(path: KeyPath, what: Any) -> Finding:
    return Finding(
        path=path,
        at="key",
        code="GC029",
        message=f"`{what}` would run code, which --safe refuses",
        help="read the code first, then run without --safe",
    )

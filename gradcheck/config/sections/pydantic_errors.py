"""Pydantic's errors in the words of YAML."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck.config.findings import Finding, received
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "string_pattern_mismatch": "`package.module:Name` or `./file.py:Name`",
}
_BOUNDS = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number of at most {le}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
}
#: Strings that YAML reads as a number or a boolean without their quotes.
_QUOTED = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|yes|no|on|off", re.IGNORECASE)


def finding(error: ErrorDetails, known: Sequence[str]) -> Finding:
    """Return `error` in words, at its `loc`. `known` are the keys of its section, for suggestions."""
    kind, path, value = error["type"], tuple(error["loc"]), error["input"]
    if kind == OWN_ERROR:
        own: Finding = error["ctx"]["finding"]
        return replace(own, path=path)
    if kind == "extra_forbidden":
        key = path[-1]
        help_ = suggestion(key, known, "Known keys")
        return Finding(message=f"unknown key `{key}`", path=path, at="key", code="GC003", help=help_)
    if kind == "missing":
        return Finding(message=f"missing key `{path[-1]}`", path=path[:-1], at="key", code="GC005")
    if kind == "invalid_key" or path[-1:] == ("[key]",):
        return _wrong_key(value, path[:-1] if kind != "invalid_key" else path)
    expected = _expected(kind, error.get("ctx", {})) or error["msg"]
    return Finding(message=f"expected {expected}. Received: {received(value)}", path=path, help=_help(kind, error))


#: The pydantic type of the errors that carry a Finding in their context.
OWN_ERROR = "gradcheck"


def choices(ctx: Mapping[str, Any]) -> list[str]:
    """Return the values of a `Literal`, from the context of pydantic's error."""
    text = str(ctx["expected"])
    return re.findall(r"'([^']*)'", text) or [text]


def _expected(kind: str, ctx: Mapping[str, Any]) -> str | None:
    """Return the expected value as a noun phrase; None for a kind of error without one here."""
    if kind == "literal_error":
        values = choices(ctx)
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format_map(ctx)
    return _EXPECTED.get(kind)


def _help(kind: str, error: ErrorDetails) -> str | None:
    """Return what to do about a value of the wrong type; None if nothing is known."""
    value = error["input"]
    if kind == "literal_error" and isinstance(value, str):
        values = choices(error["ctx"])
        return f"write {value} without quotes" if value in values else suggestion(value, values, "Known values")
    if kind == "string_pattern_mismatch" and isinstance(value, str):
        return f"add the name in that file: `{value}:Name`" if value.endswith(".py") else _dotted(value)
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return f'put it in quotes: "{received(value)}"'
    if isinstance(value, str) and _QUOTED.fullmatch(value) and kind in _EXPECTED and kind != "string_type":
        return f"write {value} without quotes"
    if value is None:
        return "give it a value, or remove the key"
    return None


def _dotted(value: str) -> str | None:
    """Return what to do about `model.build` in place of `model:build`; None for any other text."""
    module, dot, name = value.rpartition(".")
    return f"write a colon before the name: `{module}:{name}`" if dot and name.isidentifier() else None


def _wrong_key(key: Any, path: tuple[Any, ...]) -> Finding:
    """Return the finding for a key that is no string, such as a bare `on`, which YAML reads as true."""
    return Finding(
        message=f"a key must be a text. Received: {received(key)}",
        path=path,
        at="key",
        help="put the key in quotes; YAML reads a bare on, off, yes and no as true and false",
    )

"""Errors that belong to a key of the config, so that whoever holds its text can point at line and column."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from gradcheck.errors import ConfigError, GradcheckError, RunError
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.config.load import LoadedConfig

#: Keys and list indices from the top of the config, such as `("model", "layers", 3)`.
Keys: TypeAlias = tuple[str | int, ...]


class _AnyKeyedError(GradcheckError):
    """What `KeyedError` and `KeyedRunError` share: the path of the key that they are about."""

    keys: Keys = ()


class KeyedError(_AnyKeyedError, ConfigError):
    """A ConfigError about the value at `keys`."""


class KeyedRunError(_AnyKeyedError, RunError):
    """A RunError caused by the value at `keys`; user code that raised has its own `location`."""


@contextmanager
def at(*keys: str | int) -> Iterator[None]:
    """Puts `keys` before the keys of any error that is raised inside, outermost first."""
    try:
        yield
    except _AnyKeyedError as error:
        error.keys = (*keys, *error.keys)
        raise


@contextmanager
def located(loaded: LoadedConfig) -> Iterator[None]:
    """Gives an error raised inside its place in the config, where it knows the keys and has no place of its own."""
    try:
        yield
    except GradcheckError as error:
        keys = getattr(error, "keys", ())
        if error.location is None and keys:
            error.location = loaded.locate(*keys)
        raise


def arguments_received(kwargs: Any, argument: Any = None) -> str:
    """`units=-1, name='d'`, as an error message shows what it was given; `nothing` for no arguments."""
    shown = [] if argument is None else [repr(argument)]
    return listed([*shown, *(f"{key}={value!r}" for key, value in kwargs.items())], "nothing")

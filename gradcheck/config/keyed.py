"""Errors that carry the path of a config key, so that a caller with the text can add line and column."""

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
    """The common base of `KeyedError` and `KeyedRunError`: an error with the path of a key."""

    keys: Keys = ()
    #: Whether the key itself is wrong, rather than its value.
    at_key: bool = False
    #: Whether the keys start at the top of the config, wherever the error was raised.
    from_top: bool = False


class KeyedError(_AnyKeyedError, ConfigError):
    """A ConfigError about the value at `keys`."""


class KeyedRunError(_AnyKeyedError, RunError):
    """A RunError caused by the value at `keys`. If user code raised it, its `location` is in that code."""


@contextmanager
def at(*keys: str | int) -> Iterator[None]:
    """Prepend `keys` to the keys of any keyed error that the block raises."""
    try:
        yield
    except _AnyKeyedError as error:
        if not error.from_top:
            error.keys = (*keys, *error.keys)
        raise


@contextmanager
def at_top(key: str) -> Iterator[None]:
    """As `at`, for a section that is read while another one is: its `key` stays the first."""
    try:
        with at(key):
            yield
    except _AnyKeyedError as error:
        error.from_top = True
        raise


@contextmanager
def located(loaded: LoadedConfig) -> Iterator[None]:
    """Set the location of a keyed error that the block raises, if it has none yet."""
    try:
        yield
    except GradcheckError as error:
        keys = getattr(error, "keys", ())
        if error.location is None and keys:
            error.location = loaded.locate(*keys, at="key" if getattr(error, "at_key", False) else "value")
        raise


def arguments_received(kwargs: Any, argument: Any = None) -> str:
    """Return the arguments as an error message shows them: `units=-1, name='d'`, or `nothing` if there are none."""
    shown = [] if argument is None else [repr(argument)]
    return listed([*shown, *(f"{key}={value!r}" for key, value in kwargs.items())], "nothing")

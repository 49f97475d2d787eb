"""`application`: a model of keras.applications, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import described
from gradcheck.config.keyed import KeyedError, KeyedRunError, arguments_received, at, did_you_mean
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config.sections.model import ApplicationSource


def build(source: ApplicationSource, base: Path) -> keras.Model:
    """Build the application with random weights, unless `kwargs` names others.

    `weights` may be a file relative to the config. A name that Keras knows, such as `imagenet`, is passed to Keras,
    which uses its cache or downloads them.

    Raises:
        KeyedError: GC020 for an unknown application.
        KeyedRunError: GC051 if it cannot be built, or its weights are not available.
    """
    kwargs = {name: _argument(name, value, base) for name, value in source.kwargs.items()}
    with at("application"):
        function = _applications().get(source.application)
        if function is None:
            help_ = did_you_mean(source.application, _applications(), "see keras.io/api/applications for the names")
            raise KeyedError(f"keras.applications has no {source.application}", code="GC020", help=help_)
        try:
            return function(**{"weights": None, **kwargs})
        except GradcheckError:
            raise
        except Exception as error:
            received = arguments_received(source.kwargs)
            message = f"application {source.application} cannot be built: {described(error)}. Received: {received}"
            wants = "weights: null builds it with random weights" if kwargs.get("weights") else None
            raise KeyedRunError(message, code="GC051", help=wants) from error


def _applications() -> dict[str, Callable[..., keras.Model]]:
    members = vars(keras.applications).items()
    return {name: value for name, value in members if name[:1].isupper() and callable(value)}


def _argument(name: str, value: Any, base: Path) -> Any:
    """Convert `value` for Keras: shapes to tuples, weights in a file to its path."""
    if isinstance(value, list):
        return tuple(value)
    if name == "weights" and isinstance(value, str) and (base / value).is_file():
        return str((base / value).resolve())
    return value

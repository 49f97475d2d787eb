"""Proves that a model cut into parts computes the gradients of the whole one, and says where and why when it does not.

Importing this package imports no TensorFlow, nor anything else that takes long: names load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.config import load_config
    from gradcheck.results.report import Report
    from gradcheck.session.configs import assert_gradients_match, check

    __version__: str

__all__ = ["Report", "__version__", "assert_gradients_match", "check", "load_config"]

_MODULES = {
    "check": "gradcheck.session.configs",
    "assert_gradients_match": "gradcheck.session.configs",
    "load_config": "gradcheck.config",
    "Report": "gradcheck.results.report",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name == "__version__":
        return _version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def _version() -> str:
    """The installed version; 0+unknown where the package runs from its source tree."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes longer than the rest

    try:
        return version("gradcheck")
    except PackageNotFoundError:
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

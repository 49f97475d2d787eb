"""Gradient verification of split models: where and why their gradients differ from those of the whole model.

Importing this package imports neither TensorFlow nor anything else that is slow: names are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.auditing.block import audit
    from gradcheck.config import load_config
    from gradcheck.live import check_function, check_model, check_parts, check_step, check_training
    from gradcheck.results.report import Report
    from gradcheck.session.configs import assert_gradients_match, check

    __version__: str

__all__ = [
    "Report",
    "__version__",
    "assert_gradients_match",
    "audit",
    "check",
    "check_function",
    "check_model",
    "check_parts",
    "check_step",
    "check_training",
    "load_config",
]

_MODULES = {
    "audit": "gradcheck.auditing.block",
    "check": "gradcheck.session.configs",
    "assert_gradients_match": "gradcheck.session.configs",
    "check_function": "gradcheck.live",
    "check_model": "gradcheck.live",
    "check_parts": "gradcheck.live",
    "check_step": "gradcheck.live",
    "check_training": "gradcheck.live",
    "load_config": "gradcheck.config",
    "Report": "gradcheck.results.report",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name == "__version__":
        return _version()
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def _version() -> str:
    """Return the installed version; `0+unknown` for a source tree that is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - takes longer than the rest

    try:
        return version("gradcheck")
    except PackageNotFoundError:
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

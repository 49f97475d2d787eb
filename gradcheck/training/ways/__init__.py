"""Ways of training that must agree with the plain loop: same loss, weights, optimizer and state after every step.

A new one is a file here, and an entry in the config's table of methods.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradcheck.config.sections.methods import METHODS as KNOWN

if TYPE_CHECKING:
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.ways.interface import Way, WayRun


def _loaded_when_called(name: str) -> Way:
    """Return the way of that name, whose module is imported at its first call."""

    def way(training: ReferenceTraining, options: Any) -> WayRun:
        found: WayRun = getattr(import_module(f"{__name__}.{name}"), name)(training, options)
        return found

    return way


WAYS: dict[str, Way] = {name: _loaded_when_called(info.place) for name, info in KNOWN.items() if info.way}

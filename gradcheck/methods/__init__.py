"""Methods: each computes the gradients of a problem. A new one is a file here, and an entry in the config's table."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradcheck.config.sections.methods import METHODS as KNOWN

if TYPE_CHECKING:
    from gradcheck.handoff.interface import Gradients, Method
    from gradcheck.problem.problem import Problem


def _loaded_when_called(place: str) -> Method:
    """Return the function named at the end of `place` (`folder.name`), imported at its first call.

    Most runs need one or two of them.
    """

    def method(problem: Problem, options: Any) -> Gradients:
        found: Gradients = getattr(import_module(f"{__name__}.{place}"), place.rpartition(".")[2])(problem, options)
        return found

    return method


METHODS: dict[str, Method] = {name: _loaded_when_called(info.place) for name, info in KNOWN.items() if not info.way}

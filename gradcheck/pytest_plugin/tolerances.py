"""Tolerances from the command line, the ini file and markers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = ("rtol", "atol")


class Tolerances(NamedTuple):
    """Tolerances from outside of a config or a call.

    Attributes:
        default: what the marker and the ini file say, for a config or a call that does not say it itself.
        forced: what the command line says, whatever the config or the call says.
    """

    default: frozenset[tuple[str, Any]] = frozenset()
    forced: frozenset[tuple[str, Any]] = frozenset()

    def around(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tolerances that hold for a config or a call with `own` ones."""
        return {**dict(self.default), **own, **dict(self.forced)}


def tolerances_of_session(config: pytest.Config) -> Tolerances:
    """Return the tolerances of the ini file and the command line.

    Raises:
        UsageError: for one that is neither a number from 0 nor auto.
    """
    of_file = {name: _tolerance(config.getini(f"gradcheck_{name}") or None, f"gradcheck_{name}") for name in _NAMES}
    of_line = {name: _tolerance(config.getoption(f"gradcheck_{name}"), f"--gradcheck-{name}") for name in _NAMES}
    return Tolerances(_given(of_file), _given(of_line))


def tolerances_of(node: pytest.Item) -> Tolerances:
    """Return the tolerances for one test: those of the session and of its markers, the closest marker first.

    Raises:
        UsageError: as `tolerances_of_session`.
    """
    session = tolerances_of_session(node.config)
    marked: dict[str, Any] = {}
    for marker in node.iter_markers("gradcheck"):
        found = {name: _tolerance(marker.kwargs.get(name), f"the marker gradcheck, {name}") for name in _NAMES}
        marked = {**dict(_given(found)), **marked}
    return session._replace(default=_given({**dict(session.default), **marked}))


def _given(found: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value) for name, value in found.items() if value is not None)


def _tolerance(given: Any, where: str) -> float | str | None:
    if given is None:
        return None
    if given == "auto":
        return "auto"
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise pytest.UsageError(f"{where}: a tolerance is a number from 0, or auto. Received: {given!r}")
    return value

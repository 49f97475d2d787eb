"""`factory`: the user's own function that returns a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building import user_code
from gradcheck.building.precision import kept_precision

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.sections.model import FactorySource


def build(source: FactorySource, base: Path) -> Any:
    """Return the function's result; the caller checks that it is a model.

    The function may clear the session or set a dtype policy: the config's own policy is restored afterwards.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC051 if it raises, in the user's own file.
    """
    with kept_precision():
        return user_code.made_by("factory", source.factory, base, "GC051", source.kwargs)

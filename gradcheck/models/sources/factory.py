"""`factory`: the user's own function that returns a model."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from gradcheck.models import user_code
from gradcheck.models.keyed import at
from gradcheck.models.precision import kept_precision

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.model import FactorySource


def build(source: FactorySource, base: Path) -> Any:
    """What the function returns; whether it is a model is judged by who asked for it.

    It may clear the session or set a dtype policy: the config's own policy holds again afterwards.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC051 if it raises, in the user's own file.
    """
    with at("factory"):
        function = user_code.load(source.factory, base, code="GC051")
    with user_code.calling("factory", source.factory, "GC051", base), kept_precision():
        return function(**copy.deepcopy(source.kwargs))

"""Methods: each turns a problem into gradients. A new one is one file here and one name in `METHODS`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.gradients.interface import Gradients, Method
    from gradcheck.models.problem import Problem


def _loaded_when_called(name: str) -> Method:
    """The function `name` of the module of that name, imported when it is first needed: most runs need one or two."""

    def method(problem: Problem, options: Any) -> Gradients:
        found: Gradients = getattr(import_module(f"{__name__}.{name}"), name)(problem, options)
        return found

    return method


METHODS: dict[str, Method] = {
    name: _loaded_when_called(name)
    for name in (
        "vjp",
        "jacobian",
        "naive",
        "recompute",
        "graph",
        "graph_scalar",
        "forward",
        "numeric",
        "hvp",
        "stateful",
        "scan",
        "candidate",
    )
}

"""Methods: each turns a problem into gradients. A new one is one file here and one name in `METHODS`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradcheck.handoff.interface import Gradients, Method
    from gradcheck.problem.problem import Problem


def _loaded_when_called(place: str) -> Method:
    """The function that `place` (`folder.name`) ends in, imported when first needed: most runs need one or two."""

    def method(problem: Problem, options: Any) -> Gradients:
        found: Gradients = getattr(import_module(f"{__name__}.{place}"), place.rpartition(".")[2])(problem, options)
        return found

    return method


METHODS: dict[str, Method] = {
    place.rpartition(".")[2]: _loaded_when_called(place)
    for place in (
        "by_segment.vjp",
        "by_segment.jacobian",
        "by_segment.naive",
        "by_segment.recompute",
        "by_segment.graph",
        "by_segment.graph_scalar",
        "directional.forward",
        "directional.numeric",
        "directional.hvp",
        "along_time.stateful",
        "along_time.scan",
        "candidate",
    )
}

"""Methods: each turns a problem into gradients. A new one is one file here and one line in `METHODS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.gradients.candidate import candidate
from gradcheck.gradients.forward import forward
from gradcheck.gradients.graph import graph
from gradcheck.gradients.graph_scalar import graph_scalar
from gradcheck.gradients.hvp import hvp
from gradcheck.gradients.jacobian import jacobian
from gradcheck.gradients.naive import naive
from gradcheck.gradients.numeric import numeric
from gradcheck.gradients.recompute import recompute
from gradcheck.gradients.scan import scan
from gradcheck.gradients.stateful import stateful
from gradcheck.gradients.vjp import vjp

if TYPE_CHECKING:
    from gradcheck.gradients.interface import Method

METHODS: dict[str, Method] = {
    "vjp": vjp,
    "jacobian": jacobian,
    "naive": naive,
    "recompute": recompute,
    "graph": graph,
    "graph_scalar": graph_scalar,
    "forward": forward,  # type: ignore[dict-item]  # its options are narrower: the config guarantees them
    "numeric": numeric,  # type: ignore[dict-item]  # as above
    "hvp": hvp,  # type: ignore[dict-item]  # as above
    "stateful": stateful,
    "scan": scan,  # type: ignore[dict-item]  # as for candidate
    "candidate": candidate,  # type: ignore[dict-item]  # its options are narrower: the config guarantees them
}

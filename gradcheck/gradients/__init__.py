"""Methods: each turns a problem into gradients. A new one is one file here and one line in `METHODS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.gradients.candidate import candidate
from gradcheck.gradients.graph import graph
from gradcheck.gradients.graph_scalar import graph_scalar
from gradcheck.gradients.jacobian import jacobian
from gradcheck.gradients.naive import naive
from gradcheck.gradients.numeric import numeric
from gradcheck.gradients.recompute import recompute
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
    "numeric": numeric,  # type: ignore[dict-item]  # as below
    "candidate": candidate,  # type: ignore[dict-item]  # its options are narrower: the config guarantees them
}

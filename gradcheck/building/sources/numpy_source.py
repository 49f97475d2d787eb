"""`numpy_layer`: a class with NumPy forward(x) and backward(dy) as a Keras layer."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from gradcheck.building import user_code
from gradcheck.building.numpy_layer import NumpyLayer
from gradcheck.building.numpy_layer_code import NumpyCode

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.sections.model import LayerSpec


def build(spec: LayerSpec, base: Path) -> NumpyLayer:
    """Build the layer that wraps the class of `spec`; `gradcheck.building.numpy_layer_code` describes such a class.

    Raises:
        KeyedError: GC028 if there is no such class.
        RunError: GC051 if its constructor raises, or it lacks forward or backward.
    """
    made = user_code.load(spec.target, base, code="GC051")
    with user_code.calling("class", spec.target, "GC051", base):
        template = made(**copy.deepcopy(spec.kwargs))
    return NumpyLayer(NumpyCode(template, spec.target, base), name=spec.name)

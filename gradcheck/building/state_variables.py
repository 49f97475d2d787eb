"""The variables that a forward pass changes and that are not trained, under any backend of Keras."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.naming import unique_names
from gradcheck.keras_private import all_layers, own_metrics, own_weights

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class StateVariable:
    """One variable of the state: batch-norm statistics, a layer's seed state, a recurrent state."""

    path: str
    layer: str
    name: str
    variable: Any


def state_variables(models: Sequence[keras.Layer], names: Mapping[int, str] | None = None) -> tuple[StateVariable, ...]:
    """Return the variables that a forward pass through `models` changes and that are not trained.

    `names` are their paths by id, where they are not Keras's own.

    `model.variables` lacks the states of stateful recurrent layers and the metrics inside layers, and includes frozen
    weights, which are no state.
    """
    layers = all_layers(models)
    weights = {id(v) for layer in layers for v in own_weights(layer)}  # also those frozen since
    found: dict[int, tuple[str, Any]] = {}
    for model in models:
        found.update({id(v): (v.path, v) for v in model.variables if not v.trainable and id(v) not in weights})
    for layer in layers:
        for i, v in enumerate(keras.tree.flatten(getattr(layer, "states", None) or [])):
            found[id(v)] = (f"{layer.path}/state_{i}", v)
        if not isinstance(layer, keras.Model):  # whose metrics its own training step updates
            found.update({id(v): (v.path, v) for metric in own_metrics(layer) for v in metric.variables})
    known = names or {}
    paths = unique_names(known.get(id(variable), path) for path, variable in found.values())
    return tuple(
        StateVariable(path=path, layer=path.rpartition("/")[0], name=path.rpartition("/")[2], variable=variable)
        for path, (_, variable) in zip(paths, found.values(), strict=True)
    )

"""The names of a model's inputs and outputs, and values given by those names in the model's order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.naming import unique_names
from gradcheck.keras_private import functional_within, operation_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def input_names(model: keras.Model) -> tuple[str, ...]:
    """Return the names of the model's inputs in the order of `model.inputs`, each once."""
    return _names(model.inputs)


#: The attribute of a model around a subclassed one that holds the names of its outputs.
_OUTPUT_NAMES = "gradcheck_output_names"


def output_names(model: keras.Model) -> tuple[str, ...]:
    """Return the names of the operations that make the outputs, in their order; the second of a name gets `:2`."""
    return vars(model).get(_OUTPUT_NAMES) or _names(model.outputs)


def name_outputs(model: keras.Model, names: Iterable[str]) -> None:
    """Name the outputs of a model around a subclassed one after the calls inside that make them."""
    vars(model)[_OUTPUT_NAMES] = unique_names(names)


def _names(tensors: Sequence[Any]) -> tuple[str, ...]:
    return unique_names(str(operation_of(tensor).name) for tensor in tensors)


def packed_inputs(model: keras.Model, flat: Sequence[Any]) -> Any:
    """Return `flat`, in the order of `model.inputs`, in the model's structure: a tensor, a list or a mapping."""
    graph = functional_within(model) or model  # a Sequential has no structure of its own
    return keras.tree.pack_sequence_as(getattr(graph, "_inputs_struct", list(flat)), list(flat))


def packed_outputs(model: keras.Model, flat: Sequence[Any]) -> Any:
    """Return one value per output, in order, in the structure that the model returns: a tensor, a list or a mapping."""
    graph = functional_within(model) or model
    structure = getattr(graph, "_outputs_struct", flat[0] if len(flat) == 1 else list(flat))
    return keras.tree.pack_sequence_as(structure, list(flat))


def output_positions(model: keras.Model) -> dict[str, int]:
    """Return the index in `model.outputs` by every name of an output.

    The outputs of a model that returns a mapping are named by its keys, as in `compile(loss={...})`, or by the layers.
    """
    positions = {name: index for index, name in enumerate(output_names(model))}
    structure = getattr(model, "_outputs_struct", None)
    keys = {key: id(tensor) for key, tensor in structure.items()} if isinstance(structure, Mapping) else {}
    by_id = {id(tensor): index for index, tensor in enumerate(model.outputs)}
    return positions | {str(key): by_id[tensor] for key, tensor in keys.items() if tensor in by_id}


def flat_values(values: Any, positions: Mapping[str, int], count: int) -> list[Any]:
    """Return `values` as a list of `count` in the model's order; a name that a mapping leaves out is None.

    Args:
        values: one tensor, a list or tuple (in order, nested as the model returns it), or a mapping by name.
        positions: the index by name.
        count: the required number.

    Raises:
        ValueError: if there are more or fewer.
        KeyError: if a name is unknown.
    """
    if isinstance(values, Mapping):
        flat: list[Any] = [None] * count
        for name, value in values.items():
            flat[positions[name]] = value
        return flat
    flat = keras.tree.flatten(values) if isinstance(values, (list, tuple)) else [values]
    if len(flat) != count:
        raise ValueError(f"expected {count} tensors. Received: {len(flat)}")
    return flat

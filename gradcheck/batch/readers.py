"""The layers that read an input of the model, which determine its valid values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gradcheck.keras_private import Functional, all_layers, functional_within, nodes_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Layers that look values up or sort them into bins: their outputs are no longer the values of the input.
_RENUMBERING = (
    keras.layers.Discretization,
    keras.layers.Hashing,
    keras.layers.HashedCrossing,
    keras.layers.IntegerLookup,
    keras.layers.StringLookup,
    keras.layers.TextVectorization,
)


class Reader(NamedTuple):
    """An operation that reads an input, or its values unchanged through other operations, in `dtype`."""

    operation: Any
    dtype: str

    @property
    def layers(self) -> list[keras.Layer]:
        """The operation and the layers inside it; only the operation for a float, which it casts first.

        Empty for an operation that is no layer.
        """
        if not isinstance(self.operation, keras.Layer):
            return []
        return all_layers([self.operation]) if _is_discrete(self.dtype) else [self.operation]


def readers(model: keras.Model, position: int) -> list[Reader]:
    """Return the operations that read input `position` of `model`; none for a model that is no graph of layers.

    Integers and text are followed through operations that keep their dtype (a slice, a reshape), and all values into
    nested models.
    """
    graph = _functional(model)
    return [] if graph is None else list(_reading(graph, graph.inputs[position]))


def _functional(operation: Any) -> Any:
    """Return the functional model that `operation` is, or that a Sequential contains; None for anything else."""
    graph = functional_within(operation) or operation
    return graph if isinstance(graph, Functional) else None


def _reading(graph: Any, tensor: Any) -> Iterator[Reader]:
    carrying = {id(tensor)}
    for node in nodes_in_order(graph):
        read = [index for index, t in enumerate(node.input_tensors) if id(t) in carrying]
        if node.is_input or not read:
            continue
        nested = _functional(node.operation)
        if nested is None:
            yield Reader(node.operation, str(node.input_tensors[read[0]].dtype))
        else:
            for index in (i for i in read if i < len(nested.inputs)):  # what follows is a mask
                yield from _reading(nested, nested.inputs[index])
        if not isinstance(node.operation, _RENUMBERING):
            carrying |= {id(t) for t in node.output_tensors if _is_discrete(str(t.dtype))}


def _is_discrete(dtype: str) -> bool:
    return "int" in dtype or dtype == "string"

"""Which integers an input may hold: what the layers that look them up have entries for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Iterator


def index_limit(model: keras.Model, position: int) -> int | None:
    """The smallest `input_dim` of an Embedding that reads input `position`; None if none does.

    Integers are followed through operations that keep them integers (a slice, a reshape) and into nested models and
    layers that hold an Embedding. A floating input counts only where an Embedding reads it directly, and casts it.
    """
    graph = _functional(model)
    return None if graph is None else min(_limits(graph, graph.inputs[position]), default=None)


def _functional(operation: Any) -> Any:
    """The functional model that `operation` is, or that a Sequential keeps; None for anything else."""
    graph = getattr(operation, "_functional", None) or operation
    return graph if isinstance(graph, keras.Model) and hasattr(graph, "_nodes_by_depth") else None


def _limits(graph: Any, tensor: Any) -> Iterator[int]:
    """The sizes of all tables that `tensor`, or integers made of it, are looked up in."""
    carrying = {id(tensor)}
    depths = sorted(graph._nodes_by_depth, reverse=True)  # noqa: SLF001 - Keras's own record of its graph
    for node in (node for depth in depths for node in graph._nodes_by_depth[depth]):  # noqa: SLF001 - as above
        read = [index for index, t in enumerate(node.input_tensors) if id(t) in carrying]
        if node.is_input or not read:
            continue
        nested = _functional(node.operation)
        if nested is None:
            yield from _tables(node.operation, integers=_is_integer(node.input_tensors[read[0]]))
        else:
            for index in (i for i in read if i < len(nested.inputs)):  # what follows is a mask
                yield from _limits(nested, nested.inputs[index])
        carrying |= {id(t) for t in node.output_tensors if _is_integer(t)}


def _tables(operation: Any, *, integers: bool) -> Iterator[int]:
    """The table sizes of `operation` itself, and for integers of the layers that it holds."""
    layers = [operation]
    if integers and isinstance(operation, keras.layers.Layer):
        layers = list(operation._flatten_layers())  # noqa: SLF001 - a layer's own layers have no public list
    for layer in layers:
        if isinstance(layer, keras.layers.Embedding):
            yield int(layer.input_dim)
        elif isinstance(layer, keras.layers.CategoryEncoding) and layer.num_tokens:
            yield int(layer.num_tokens)


def _is_integer(tensor: Any) -> bool:
    return "int" in str(tensor.dtype)

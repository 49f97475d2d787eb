"""The calls that a layer made of layers makes in its `call`, found by running it on symbolic tensors.

`call` of a subclassed model, or of a layer that holds others, is Python code. Run on KerasTensors it leaves the calls
of the layers and operations inside, in the order of the program. What cannot be run so stays one call.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.cutting.tracing.attribute_paths import layer_paths
from gradcheck.cutting.tracing.operations import MaskOf
from gradcheck.cutting.tracing.recorder import Recorder, is_composite
from gradcheck.cutting.tracing.records import Closed, LayerTrace, Opened, TracedCall
from gradcheck.keras_private import SymbolicArguments, all_layers, called_with, mask_of, set_mask, takes_training

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Closed", "LayerTrace", "Opened", "TracedCall", "is_composite", "trace"]


def trace(
    layer: keras.Layer, arguments: Any, *, training: bool, shut: Mapping[int, str], batch_size: int | None = None
) -> LayerTrace:
    """Run `layer` on symbolic tensors, and return the calls that it makes.

    Args:
        layer: a layer made of layers, already built.
        arguments: the `SymbolicArguments` of its call.
        training: the flag that it is called with.
        shut: the reasons for layers that must stay one call, by the layer's id.
        batch_size: the length of the first axis where it is unknown; None to leave it unknown.

    Returns:
        The trace; without calls if `layer` itself stays one call.
    """
    args, kwargs, entries = _entered(arguments, batch_size)
    if takes_training(layer):
        kwargs = {**kwargs, "training": training}
    tracing = Recorder(layer_paths(layer), training=training, shut=shut)
    tracing.calls += _masks_of([entry for _, entry in entries])
    with tracing.watching(), called_with(training), _attributes_kept(all_layers([layer])):
        try:
            outputs = layer(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever its code raises on symbolic tensors: it stays one call
            return LayerTrace(closed=(tracing.closure(layer, error),))
    if not any(opened.layer is layer and opened.path == "" for opened in tracing.opened):
        return LayerTrace(closed=tuple(closed for closed in tracing.closed if closed.path == ""))
    return tracing.found(entries, keras.tree.flatten(outputs))


def _entered(arguments: Any, batch_size: int | None) -> tuple[Any, Any, list[tuple[Any, Any]]]:
    """Return the arguments with a KerasTensor of their own for each tensor, and the pairs of old and new ones."""
    entries: dict[int, tuple[Any, Any]] = {}

    def entry(value: Any) -> Any:
        if not isinstance(value, keras.KerasTensor):
            return value
        if id(value) not in entries:
            entries[id(value)] = (value, _like(value, batch_size))
            mask = mask_of(value)
            if mask is not None:
                set_mask(entries[id(value)][1], _like(mask, batch_size))
        return entries[id(value)][1]

    args, kwargs = keras.tree.map_structure(entry, (arguments.args, arguments.kwargs))
    return args, kwargs, list(entries.values())


def _like(tensor: Any, batch_size: int | None) -> Any:
    shape = tuple(tensor.shape)
    shape = (batch_size, *shape[1:]) if shape and shape[0] is None else shape
    return keras.KerasTensor(shape, tensor.dtype, sparse=tensor.sparse)


def _masks_of(entries: Sequence[Any]) -> list[TracedCall]:
    """Return a call for the mask of each tensor that carries one."""
    masked = ((entry, mask_of(entry)) for entry in entries)
    return [
        TracedCall(path="mask_of", operation=MaskOf(), arguments=SymbolicArguments(entry), outputs=[mask])
        for entry, mask in masked
        if mask is not None
    ]


@contextmanager
def _attributes_kept(layers: Sequence[keras.Layer]) -> Iterator[None]:
    """Restore what a `call` sets on its layers: attributes, and the contents of lists and dictionaries."""
    kept = [(layer, dict(vars(layer))) for layer in layers]
    contents = [
        (value, type(value).copy(value)) for _, held in kept for value in held.values() if type(value) in (list, dict)
    ]
    try:
        yield
    finally:
        for layer, held in kept:
            vars(layer).clear()
            vars(layer).update(held)
        for value, content in contents:
            value.clear()
            (value.update if isinstance(value, dict) else value.extend)(content)

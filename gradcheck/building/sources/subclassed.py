"""A model with a `call` of its own, and a single layer, as functional models: one call of the object itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.endpoints import packed_inputs
from gradcheck.building.messages import as_first_raised, described, raised, user_location
from gradcheck.building.sources.built import is_functional, no_inputs, not_a_model
from gradcheck.building.sources.layers import positional
from gradcheck.config.keyed import KeyedRunError
from gradcheck.errors import GradcheckError
from gradcheck.keras_private import (
    all_layers,
    functional_of,
    is_keras_own,
    nodes_in_order,
    outputs_given,
    stateless,
    takes_training,
)
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The length of the batch on which a layer is tried whose shapes cannot be inferred: one that few other axes have.
_TRIED = 3
#: The beginning of what Keras warns of before it raises the same.
_NOT_INFERRED = "Layer .* looks like it has unbuilt state|`build\\(\\)` was called on layer"
#: The beginning of what it says of an input that cannot have the name of its key, which is the layer's.
_OTHER_NAME = "When providing `inputs` as a dict"


def with_inputs(model: Any, what: str, inputs: Any, batch_size: int | None = None) -> keras.Model:
    """Return `model`, if it has symbolic inputs, else a functional model that calls it on `inputs`.

    Raises:
        KeyedRunError: GC051 if it is no model, `inputs` are None and needed, or it raises on them.
    """
    if not isinstance(model, keras.Model):
        raise not_a_model(model, what)
    if is_functional(model):
        # One with a `call` of its own has a graph of layers too, which is not what runs.
        return model if functional_of(model) is not None else functional(model, _own_inputs(model), what)
    if inputs is None:
        raise no_inputs(model, what)
    return functional(model, inputs, what, batch_size=batch_size)


def _own_inputs(model: keras.Model) -> Any:
    """Return the KerasTensors of a model's own inputs, in its structure."""
    return packed_inputs(model, [keras.KerasTensor(t.shape, t.dtype, sparse=t.sparse) for t in model.inputs])


def functional(
    layer: keras.Layer, inputs: Any, what: str, *, name: str | None = None, batch_size: int | None = None
) -> keras.Model:
    """Return a functional model that calls `layer`, which it builds if it is not built yet.

    Args:
        layer: a layer or model.
        inputs: KerasTensors in the structure that the layer takes: one, a list or tuple, or a mapping. A `call` with
            several required arguments gets the items of a list by position, and those of a mapping by name.
        what: its name in messages.
        name: the model's name; by default the layer's.
        batch_size: the length of a batch, for a layer that must know it, as a stateful one does; None if unknown.

    Raises:
        KeyedRunError: GC051 if the layer raises on such inputs, or returns something other than tensors.
    """
    try:
        try:
            return _model(layer, _named(inputs, taken=layer.name), name)
        except GradcheckError:
            raise
        except Exception:
            if batch_size is None:
                raise
            symbolic = _named(inputs, batch_size, taken=layer.name)
            if not all(inner.built for inner in all_layers([layer])):
                _build_by_call(layer, symbolic)
            return _model(layer, symbolic, name)
    except GradcheckError as error:
        raise as_first_raised(error) from None
    except Exception as error:
        shapes = listed(str(tuple(tensor.shape)) for tensor in keras.tree.flatten(inputs))
        message = f"{what} cannot be called: {described(error)}. Received: tensors of shape {shapes}"
        raise raised(message, error, "GC051", location=user_location(error), kind=KeyedRunError) from error


def _model(layer: keras.Layer, symbolic: Any, name: str | None) -> keras.Model:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_OTHER_NAME)
        return keras.Model(symbolic, _called(layer, symbolic), name=name or layer.name)


def wraps_one(model: keras.Model) -> keras.Layer | None:
    """Return the layer or model that `functional` made `model` of; None for any other model."""
    graph = functional_of(model)
    calls = [] if graph is None else [n for n in nodes_in_order(graph) if n.operation and not n.is_input]
    if len(calls) != 1 or calls[0].operation.name != model.name:
        return None
    operation = calls[0].operation
    same = [id(tensor) for tensor in calls[0].outputs] == [id(tensor) for tensor in model.outputs]
    return operation if same and isinstance(operation, keras.Layer) and not is_keras_own(operation) else None


def _named(inputs: Any, batch_size: int | None = None, *, taken: str) -> Any:
    """Return inputs like the given KerasTensors, named by their place in the structure; Keras wants none of a layer."""
    paths = [f"{path}_input" if path == taken else path for path in _places(inputs)]
    flat = [
        keras.Input(batch_shape=(batch_size, *tensor.shape[1:]), dtype=tensor.dtype, sparse=tensor.sparse, name=path)
        for path, tensor in zip(paths, keras.tree.flatten(inputs), strict=True)
    ]
    return keras.tree.pack_sequence_as(inputs, flat)


def _places(inputs: Any) -> list[str]:
    """Return a name for each tensor: `input`, `input_0`, or its key."""
    if isinstance(inputs, keras.KerasTensor):
        return ["input"]

    def places(value: Any, prefix: str) -> Iterator[str]:
        if isinstance(value, Mapping):
            for key in sorted(value):
                yield from places(value[key], f"{prefix}_{key}".lstrip("_"))
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                yield from places(item, f"{prefix or 'input'}_{index}")
        else:
            yield prefix

    return list(places(inputs, ""))


def _called(layer: keras.Layer, inputs: Any) -> Any:
    """Call `layer` on symbolic tensors; its outputs are inferred from values where its code cannot do without."""
    args, kwargs = _arguments(layer, inputs)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=_NOT_INFERRED)
            return layer(*args, **kwargs)
    except GradcheckError:
        raise
    except Exception:  # noqa: BLE001 - a `call` may branch on values: it is then run on some
        with outputs_given(layer, outputs_by_example(layer, args, kwargs)):
            return layer(*args, **kwargs)


def _build_by_call(layer: keras.Layer, symbolic: Any) -> None:
    """Build a layer by a call on values, as a user does: some cannot be built otherwise. No statistics move."""
    args, kwargs = keras.tree.map_structure(_example, _arguments(layer, symbolic))
    layer(*args, **kwargs, **({"training": False} if takes_training(layer) else {}))
    for inner in all_layers([layer]):
        if getattr(inner, "stateful", False):
            inner.reset_state()


def outputs_by_example(layer: keras.Layer, args: Any, kwargs: Any) -> Any:
    """Return KerasTensors like the outputs of `layer`, which is run on ones; no variable changes."""
    given = keras.tree.map_structure(_example, (args, kwargs))
    with stateless():
        outputs = layer(*given[0], **given[1])
    tensors = [value for value in keras.tree.flatten((args, kwargs)) if isinstance(value, keras.KerasTensor)]
    is_open = any(tensor.shape and tensor.shape[0] is None for tensor in tensors)

    def symbolic(value: Any) -> Any:
        if not keras.ops.is_tensor(value):
            return value
        shape = tuple(value.shape)
        is_batch = is_open and shape[:1] == (_TRIED,)
        return keras.KerasTensor((None, *shape[1:]) if is_batch else shape, value.dtype.name)

    return keras.tree.map_structure(symbolic, outputs)


def _arguments(layer: keras.Layer, inputs: Any) -> tuple[Any, Any]:
    """Return the arguments of the call: one structure, or a tensor for each required argument."""
    if isinstance(inputs, Mapping) and len(inputs) > 1 and set(inputs) <= set(layer.call_signature_parameters):
        return (), dict(inputs)
    several = isinstance(inputs, (list, tuple)) and len(positional(layer, list(inputs))) > 1
    return (tuple(inputs) if several else (inputs,)), {}


def _example(spec: Any) -> Any:
    """Return ones in the shape of a KerasTensor; zeros for integers, which may be indices."""
    if not isinstance(spec, keras.KerasTensor):
        return spec
    shape = [_TRIED if axis is None else axis for axis in spec.shape]
    return keras.ops.ones(shape, spec.dtype) if "float" in spec.dtype else keras.ops.zeros(shape, spec.dtype)

"""Constants that were computed from trainable variables while the model was built.

No gradient passes through such a constant, and training never changes it. Examples are a kernel that is put together in
`build`, or the `embeddings` of another layer that a functional model reads outside a layer's `call`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import contextmanager
from functools import partial
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import tensorflow as tf

from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gradcheck.cutting.model_graph import Graph


class Captured(NamedTuple):
    """The Keras variables from which a constant was computed, and its holder: `layer noisy (kernel)`."""

    variables: tuple[Any, ...]
    holder: str


@contextmanager
def reads_recorded() -> Iterator[tf.GradientTape]:
    """Record, on the tape that is yielded, the operations that read variables inside.

    Compiled functions and layers that run on values are not recorded: a model that is trained or used for prediction
    while it is built would keep the intermediate results of every step on the tape.
    """
    tape, thread, stopped = tf.GradientTape(persistent=True), threading.get_ident(), False

    def aside(original: Callable[..., Any], *, always: bool) -> Callable[..., Any]:
        def called(self: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal stopped
            if stopped or threading.get_ident() != thread or not (always or _runs(self, args, kwargs)):
                return original(self, *args, **kwargs)
            stopped = True
            try:
                with tape.stop_recording():
                    return original(self, *args, **kwargs)
            finally:
                stopped = False

        return called

    # The class of compiled functions has no public name.
    function: Any = type(tf.function(lambda: None))
    layer: Any = keras.layers.Layer
    compiled, call = function.__call__, layer.__call__
    function.__call__, layer.__call__ = aside(compiled, always=True), aside(call, always=False)
    try:
        with tape:
            yield tape
    finally:
        function.__call__, layer.__call__ = compiled, call


def _runs(layer: keras.layers.Layer, args: Any, kwargs: Any) -> bool:
    """Whether this call of a layer computes with values, rather than adding to a graph of layers or building it."""
    symbolic = any(isinstance(value, keras.KerasTensor) for value in keras.tree.flatten([args, kwargs]))
    return bool(layer.built) and tf.executing_eagerly() and not symbolic


def captured(tape: tf.GradientTape, models: Sequence[keras.Model], graph: Graph) -> tuple[Captured, ...]:
    """Return the constants computed from trainable variables in the layers of `models` and the calls of `graph`.

    Args:
        tape: the tape of `reads_recorded` around the building.
        models: the models that were built.
        graph: the first of them, flattened.
    """
    read = {id(variable) for variable in tape.watched_variables()}
    variables = {id(v.value): v for model in models for v in model.trainable_variables if id(v.value) in read}
    if not variables:
        return ()
    found = []
    for holder, tensor in _held(models, graph):
        gradients = _gradients(tape, tensor, [variable.value for variable in variables.values()])
        used = tuple(v for v, gradient in zip(variables.values(), gradients, strict=True) if gradient is not None)
        found += [Captured(used, holder)] if used else []
    return tuple(found)


def _gradients(tape: tf.GradientTape, tensor: Any, sources: Sequence[Any]) -> Sequence[Any]:
    try:
        gradients: Sequence[Any] = tape.gradient(tensor, sources)
    except LookupError:  # an operation without a gradient, which would have none in `call` either
        return [None] * len(sources)
    return gradients


def _held(models: Sequence[keras.Model], graph: Graph) -> Iterator[tuple[str, Any]]:
    """Yield every stored floating tensor and its holder: the arguments of a call, or an attribute of a layer."""
    # What a call inside a layer's own `call` takes is an attribute of a layer.
    inside = {index for opened in graph.opened for index in opened.calls}
    for call in (call for call in graph.calls if call.index not in inside):
        kind = "layer" if isinstance(call.operation, keras.layers.Layer) else "operation"
        for tensor in _tensors([call.arguments.args, call.arguments.kwargs], set()):
            yield f"{kind} {call.name}", tensor
    for layer in all_layers(models):
        for name, value in vars(layer).items():
            for tensor in _tensors(value, set()):
                yield f"layer {layer.name} ({name})", tensor


def _tensors(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the floating eager tensors in `value`: in containers, closures and the arguments of partial functions."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, tf.Tensor) and not tf.is_symbolic_tensor(value) and value.dtype.is_floating:
        yield value
    for item in _inside(value):
        yield from _tensors(item, seen)


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple, set)):
        return value
    if isinstance(value, partial):
        return (value.func, value.args, value.keywords)
    if isinstance(value, FunctionType):
        return [cell.cell_contents for cell in value.__closure__ or () if cell != _EMPTY]
    return ()


_EMPTY = CellType()  # the cell of a name that is not assigned yet, whose contents cannot be read

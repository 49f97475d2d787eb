"""Running calls of a flattened graph, and observing them while Keras runs the model."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.cutting.model_graph import TensorRef
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import ConfigError
from gradcheck.keras_private import autocast_to, mask_of, runs_replaced, set_mask, takes_training

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from gradcheck.cutting.model_graph import Call, Graph, Source


def replay(
    calls: Iterable[Call],
    values: dict[TensorRef, Any],
    *,
    training: bool,
    separate: Collection[TensorRef] = (),
    on_copy: Callable[[Any], None] | None = None,
    taps: Mapping[TensorRef, Any] | None = None,
) -> None:
    """Run `calls` in order on `values`, and add their outputs to it.

    Tensors in `separate` are added as copies, with their tensor in `taps` added to them; `on_copy` is called with each.
    """
    taps = taps or {}
    for call in calls:
        tensors = {key: entered(source, values[source.ref]) for key, source in call.sources.items()}
        args, kwargs = call.arguments.fill_in(tensors)
        if takes_training(call.operation):
            # As in Keras, the outer flag overrides one given at construction, and not one given inside a `call`.
            kwargs = {**kwargs, "training": training if call.training is None else call.training}
        with autocast_to(call.autocast):
            outputs = keras.tree.flatten(call.operation(*args, **kwargs))
        for i, output in enumerate(outputs):
            ref = TensorRef(call.index, i)
            copy = partial(tf.add, taps[ref]) if ref in taps else tf.identity
            values[ref] = copied(output, by=copy) if ref in separate else output
            if ref in separate and on_copy is not None:
                on_copy(values[ref])


def entered(source: Source, tensor: Any) -> Any:
    """Return `tensor` as nested models convert it on entry, to the dtype and rank of their inputs."""
    for entry in source.entries:
        # The operations below return tensors without the mask, which Keras restores too.
        mask = mask_of(tensor)
        tensor = keras.ops.cast(tensor, entry.dtype)
        if len(tensor.shape) > len(entry.shape):
            tensor = keras.ops.squeeze(tensor, axis=-1)
        elif len(tensor.shape) < len(entry.shape):
            tensor = keras.ops.expand_dims(tensor, axis=-1)
        if mask is not None:
            set_mask(tensor, mask)
    return tensor


@contextmanager
def tapped(graph: Graph, wanted: Collection[TensorRef], watch: Callable[[Any], None]) -> Iterator[dict[TensorRef, Any]]:
    """While Keras runs the model, replace each wanted tensor by a copy, and yield a dict that collects the copies.

    `watch` is called with each copy: behind integer inputs or a stopped gradient no tape would watch it by itself.

    Keras runs the calls of a nested model within those of its parent, in the order of `graph.calls`. A copy is needed:
    an LSTM's returned state also feeds its output sequence, so that the tape's gradient of the original would include
    more than the cotangents of its consumers.

    Raises:
        ConfigError: GC025, if the model does not run its own graph (its `call` was replaced).
    """
    taps: dict[TensorRef, Any] = {}
    watcher = _Watcher(graph, frozenset(wanted), taps, watch)
    with runs_replaced(graph.functionals, watcher.runner):
        yield taps
        watcher.finish()


class _Watcher:
    """Counts the calls that Keras makes, and copies the wanted tensors."""

    def __init__(
        self, graph: Graph, wanted: frozenset[TensorRef], taps: dict[TensorRef, Any], watch: Callable[[Any], None]
    ) -> None:
        self._graph, self._wanted, self._taps, self._watch = graph, wanted, taps, watch
        self._wanted_calls = {ref.call for ref in wanted}
        self._next = 0

    def runner(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Return `original`, which runs a graph, with each of its calls reported to this watcher."""

        # Keras gets the callable of every node from `operation_fn`.
        def run(inputs: Any, operation_fn: Callable[[Any], Any] = lambda operation: operation, **kwargs: Any) -> Any:
            return original(inputs, operation_fn=lambda operation: self._observed(operation, operation_fn), **kwargs)

        return run

    def _observed(self, operation: Any, operation_fn: Callable[[Any], Any]) -> Callable[..., Any]:
        run = operation_fn(operation)
        calls, index = self._graph.calls, self._next
        # Position and identity together: a layer that is called twice is in the list twice.
        if index >= len(calls) or calls[index].operation is not operation:
            return run  # type: ignore[no-any-return]  # a nested model: its own calls are observed one by one
        self._next += 1
        if index not in self._wanted_calls:
            return run  # type: ignore[no-any-return]
        return lambda *args, **kwargs: self._tap(index, run(*args, **kwargs))

    def _tap(self, index: int, outputs: Any) -> Any:
        flat = keras.tree.flatten(outputs)
        for i, tensor in enumerate(flat):
            ref = TensorRef(index, i)
            if ref in self._wanted:
                flat[i] = self._taps[ref] = copied(tensor)
                self._watch(flat[i])
        return keras.tree.pack_sequence_as(outputs, flat)

    def finish(self) -> None:
        """Raise if the model ran something other than its graph."""
        if self._next != len(self._graph.calls):
            raise ConfigError(
                f"the model does not run its own graph of layers: {self._next} of {len(self._graph.calls)} calls were "
                "made in order",
                code="GC025",
                help="give its parts as model.segments, with the whole model as model.reference",
            )

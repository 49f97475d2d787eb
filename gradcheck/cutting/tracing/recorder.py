"""The record of the calls that a layer's code makes on symbolic tensors."""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.messages import user_location
from gradcheck.building.sources.subclassed import outputs_by_example
from gradcheck.cutting.tracing.operations import AddedLoss, Deferred, Masked
from gradcheck.cutting.tracing.reasons import Untraceable, reason
from gradcheck.cutting.tracing.records import Closed, LayerTrace, Opened, TracedCall
from gradcheck.keras_private import (
    SymbolicArguments,
    SymbolicCalls,
    Variable,
    autocast_dtype,
    functional_of,
    in_stateless_scope,
    is_keras_own,
    is_rematerialized,
    mask_of,
    replaced,
    sublayers,
    symbolic_calls,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


def is_composite(operation: Any) -> bool:
    """Whether `operation` is a layer made of layers with a `call` of the user's own."""
    return (
        isinstance(operation, keras.Layer)
        and not is_keras_own(operation)
        and bool(sublayers(operation))
        and functional_of(operation) is None
    )


class Recorder:
    """The calls so far, while a layer runs on symbolic tensors."""

    def __init__(self, paths: Mapping[int, str], *, training: bool, shut: Mapping[int, str]) -> None:
        self.calls: list[TracedCall] = []
        self.opened: list[Opened] = []
        self.closed: list[Closed] = []
        self._paths, self._training, self._shut = paths, training, shut
        self._stack: list[keras.Layer] = []
        self._constants: dict[int, tuple[Any, Any]] = {}  # KerasTensors that stand for values, by id
        self._flags: dict[int, bool | None] = {}  # by id of a layer, the `training` of its latest call
        self._ended: dict[int, tuple[int, list[Any]]] = {}  # of opened layers: calls before, and masks of the outputs

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record every call of a layer or operation in the block."""
        hooks = SymbolicCalls(
            begun=self._begun, layer=self._layer, call=self._call, loss=self._add_loss, read=self._read
        )
        # NumPy would take a symbolic tensor for an object; it leaves real tensors to TensorFlow's own operators.
        numpy = replaced(keras.KerasTensor, __array_ufunc__=None)
        with symbolic_calls(hooks), numpy, ExitStack() as stack:
            for module, is_due in ((keras.random, self._draws), (keras.ops, self._reads)):
                functions = {n: f for n, f in vars(module).items() if isinstance(f, FunctionType)}
                deferring = {name: self._deferring(function, is_due) for name, function in functions.items()}
                stack.enter_context(replaced(module, **deferring))
            yield

    def _begun(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the arguments of a call; tensors and variables are symbolic too if no other tensor is.

        A layer that runs on a constant, such as the positions of a sequence, would otherwise run once and for all.
        """
        flat = keras.tree.flatten((args, kwargs))
        if not self._stack or in_stateless_scope() or any(isinstance(value, keras.KerasTensor) for value in flat):
            return args, kwargs
        return keras.tree.map_structure(self._constant, (args, kwargs))  # type: ignore[no-any-return]

    def _constant(self, value: Any) -> Any:
        if not isinstance(value, (tf.Tensor, Variable)):
            return value
        symbolic = keras.KerasTensor(tuple(value.shape), keras.backend.standardize_dtype(value.dtype))
        self._constants[id(symbolic)] = (symbolic, value)
        return symbolic

    def _layer(self, inferred: Callable[..., Any], layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        """Return the outputs of a layer on symbolic tensors: of the layers inside if it can be opened."""
        self._flags[id(layer)] = kwargs.get("training")
        if in_stateless_scope():
            return inferred(layer, *args, **kwargs)
        if not is_composite(layer):
            return self._inferred(inferred, layer, args, kwargs)
        before = len(self.calls), len(self.opened), len(self.closed)
        self._stack.append(layer)
        try:
            self._require_openable(layer)
            outputs = layer.call(*args, **kwargs)
            self._ended[id(layer)] = before[0], [mask_of(tensor) for tensor in keras.tree.flatten(outputs)]
        except Exception as error:  # noqa: BLE001 - whatever its code raises on symbolic tensors: it stays one call
            for found, length in zip((self.calls, self.opened, self.closed), before, strict=True):
                del found[length:]  # type: ignore[attr-defined]  # all three are lists
            self.closed.append(self.closure(layer, error))
            return self._inferred(inferred, layer, args, kwargs)
        finally:
            self._stack.pop()
        return outputs

    def _inferred(self, inferred: Callable[..., Any], layer: keras.Layer, args: Any, kwargs: Any) -> Any:
        """Return the outputs of a layer that stays one call, by its own code in a graph or on values."""
        try:
            return inferred(layer, *args, **kwargs)
        except Exception:  # noqa: BLE001 - what it raises on values is raised where it runs
            return outputs_by_example(layer, args, kwargs)

    def _require_openable(self, layer: keras.Layer) -> None:
        if id(layer) in self._shut:
            raise Untraceable(self._shut[id(layer)])
        if layer.activity_regularizer is not None:
            raise Untraceable("its activity regularizer adds a loss after its call")
        if is_rematerialized(layer):
            raise Untraceable("Keras recomputes it in the backward pass")

    def _call(self, operation: Any, arguments: Any, outputs: Sequence[Any]) -> None:
        """Record a finished call: as one, or as the end of an opened layer."""
        if in_stateless_scope():
            return
        if id(operation) in self._ended:
            self._end(operation, arguments, outputs, *self._ended.pop(id(operation)))
            return
        if any(
            isinstance(value, (FunctionType, MethodType, partial)) for value in keras.tree.flatten(_given(arguments))
        ):
            raise Untraceable(f"{self._path(operation)} runs functions of its own on values")
        if not all(isinstance(tensor, keras.KerasTensor) for tensor in outputs):
            raise Untraceable(f"{self._path(operation)} returns something that is no tensor")
        if not any(tensor.sparse for tensor in arguments.keras_tensors):
            for tensor in outputs:
                tensor._sparse = False  # noqa: SLF001 - Keras takes a variable beside a symbolic tensor for sparse
        flag = self._flags.get(id(operation))
        if any(id(tensor) in self._constants for tensor in arguments.keras_tensors):
            args, kwargs = keras.tree.map_structure(self._with_constants, _given(arguments))
            arguments = SymbolicArguments(*args, **kwargs)
        self.calls.append(
            TracedCall(
                path=self._path(operation),
                operation=operation,
                arguments=arguments,
                outputs=outputs,
                training=flag if isinstance(flag, bool) and flag is not self._training else None,
                autocast=autocast_dtype(),
            )
        )

    def _with_constants(self, value: Any) -> Any:
        return self._constants[id(value)][1] if id(value) in self._constants else value

    def _end(self, layer: keras.Layer, arguments: Any, outputs: Any, start: int, masks: Sequence[Any]) -> None:
        path = self._path(layer)
        for tensor, before in zip(outputs, masks, strict=True):
            mask = mask_of(tensor)
            if before is None and mask is not None:
                name = f"{path}/mask".lstrip("/")
                arguments_ = SymbolicArguments(tensor, mask)
                self.calls.append(TracedCall(path=name, operation=Masked(), arguments=arguments_, outputs=[tensor]))
        self.opened.append(
            Opened(path=path, layer=layer, arguments=arguments, outputs=outputs, start=start, stop=len(self.calls))
        )

    def _add_loss(self, add: Callable[..., Any], layer: keras.Layer, loss: Any) -> None:
        for part in keras.tree.flatten(loss):
            if isinstance(part, keras.KerasTensor):
                AddedLoss()(part)
            else:
                if not in_stateless_scope():
                    raise Untraceable("it adds a loss that does not depend on its inputs")
                add(layer, part)

    def _deferring(self, function: Callable[..., Any], is_due: Callable[[list[Any]], bool]) -> Callable[..., Any]:
        """Return `function` for the block: a call that `is_due`, by its flat arguments, becomes one of the trace."""

        def called(*args: Any, **kwargs: Any) -> Any:
            if not self._stack or in_stateless_scope() or not is_due(keras.tree.flatten((args, kwargs))):
                return function(*args, **kwargs)
            deferred = Deferred(function)
            spec = deferred.compute_output_spec(*args, **kwargs)
            if not all(isinstance(part, keras.KerasTensor) for part in keras.tree.flatten(spec)):
                return function(*args, **kwargs)  # such as a shape
            return deferred.symbolic_call(*args, **kwargs)

        return called

    @staticmethod
    def _draws(_: list[Any]) -> bool:
        return True

    @staticmethod
    def _reads(arguments: list[Any]) -> bool:
        """Whether the arguments hold variables, and no symbolic tensor that makes the function wait by itself."""
        symbolic = any(isinstance(value, keras.KerasTensor) for value in arguments)
        return not symbolic and any(isinstance(value, Variable) for value in arguments)

    def _read(self, variable: Any) -> None:
        if self._stack and not in_stateless_scope():
            raise Untraceable(
                f"it uses the value of {variable.path} where no symbolic tensor flows in, which would be a constant "
                "ever after"
            )

    def _path(self, operation: Any) -> str:
        """Return the path of a layer by its attributes; an operation is named in the layer that calls it.

        Without Keras's number, which depends on earlier models.
        """
        if id(operation) in self._paths:
            return self._paths[id(operation)]
        around = next((self._paths[id(layer)] for layer in reversed(self._stack) if id(layer) in self._paths), "")
        name = operation.name if isinstance(operation, keras.Layer) else re.sub(r"_\d+$", "", operation.name)
        return f"{around}/{name}".lstrip("/")

    def closure(self, layer: keras.Layer, error: Exception) -> Closed:
        """Return the record of a layer that stays one call because of `error`."""
        return Closed(
            path=self._path(layer), kind=type(layer).__name__, reason=reason(error), location=user_location(error)
        )

    def found(self, entries: Sequence[tuple[Any, Any]], outputs: Sequence[Any]) -> LayerTrace:
        """Return the trace without the operations that nothing uses, such as casts and masks made beside a call."""
        needed, kept = {id(tensor) for tensor in outputs}, list[bool]()
        for call in reversed(self.calls):
            used = isinstance(call.operation, (keras.Layer, AddedLoss)) or any(id(t) in needed for t in call.outputs)
            needed |= {id(tensor) for tensor in call.input_tensors} if used else set()
            kept.append(used)
        kept.reverse()
        number = [0, *accumulate(kept)]  # of the calls kept before each
        return LayerTrace(
            calls=tuple(call for call, used in zip(self.calls, kept, strict=True) if used),
            entries=tuple(entries),
            outputs=tuple(outputs),
            opened=tuple(replace(o, start=number[o.start], stop=number[o.stop]) for o in self.opened),
            closed=tuple(self.closed),
        )


def _given(arguments: Any) -> Any:
    return arguments.args, arguments.kwargs

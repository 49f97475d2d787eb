"""`layers`: a chain or any DAG of Keras layers written in YAML, as a functional model."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.precision import widened
from gradcheck.building.recursion import deep_recursion
from gradcheck.building.sources import numpy_source as numpy_layer
from gradcheck.building.sources.arguments import LayerError, build_layer, layer_failure
from gradcheck.config.keyed import arguments_received, at
from gradcheck.config.sections.model import InputSpec
from gradcheck.errors import GradcheckError
from gradcheck.phrases import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.config.sections.model import LayerSpec, LayersSource

__all__ = ["LayerError", "build"]

#: The name of the one input that a config does not name.
INPUT = "input"
#: Python frames that Keras needs for each layer of a chain when it makes the model, with room to spare.
_FRAMES_PER_LAYER = 10


def build(source: LayersSource, base: Path) -> keras.Model:
    """Build the functional model that `source` describes.

    A layer takes the output of the entry before it (the first of several), unless `inputs` names others. A name stands
    for the layer's first output, `name:1` for its second. `call` binds its output to its own `name`; without one the
    layer's name stands for this later call from here on.

    Raises:
        LayerError: GC020 (unknown class), GC021 (refused by Keras) or GC022 (unknown name), with the keys of the entry.
        RunError: GC051 if the user's own layer raises.
    """
    inputs = _inputs(source)
    graph = _Graph(base, tensors={name: [tensor] for name, tensor in inputs.items()})
    graph.previous = next(iter(inputs.values())) if len(inputs) == 1 else None
    for index, spec in enumerate(source.layers):
        with at("layers", index):
            graph.add(index, spec)
    return _model(list(inputs.values()), _outputs(source, graph), len(source.layers))


def _inputs(source: LayersSource) -> dict[str, Any]:
    specs = {INPUT: source.input} if isinstance(source.input, InputSpec) else source.input
    tensors = {}
    for name, spec in specs.items():
        with at("input", *([] if isinstance(source.input, InputSpec) else [name])):
            try:
                dtype = None if spec.dtype is None else widened(spec.dtype)
                tensors[name] = keras.Input(spec.shape, dtype=dtype, name=name)
            except GradcheckError:
                raise
            except Exception as error:
                received = arguments_received({"shape": list(spec.shape), "dtype": spec.dtype})
                raise layer_failure(error, f"input {name} cannot be made", received, "Input") from error
    return tensors


def _outputs(source: LayersSource, graph: _Graph) -> list[Any]:
    if source.outputs is None:
        return [graph.previous]
    tensors = []
    for index, name in enumerate(source.outputs):
        with at("outputs", index):
            tensors.append(graph.tensor(name))
    return tensors


def _model(inputs: list[Any], outputs: list[Any], layers: int) -> keras.Model:
    """Build the functional model; a single tensor is passed as such, not as a list of one."""
    with at("layers"), deep_recursion(more=layers * _FRAMES_PER_LAYER):
        try:
            return keras.Model(_unpacked(inputs), _unpacked(outputs))
        except GradcheckError:
            raise
        except Exception as error:
            received = f"{layers} layers"
            raise layer_failure(error, "the layers do not make a model", received, "Model") from error


def _unpacked(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


@dataclass
class _Graph:
    """The layers and tensors so far, by the names that later entries may use."""

    base: Path
    tensors: dict[str, list[Any]]
    layers: dict[str, keras.layers.Layer] = field(default_factory=dict)
    previous: Any = None

    def add(self, index: int, spec: LayerSpec) -> None:
        """Build and call entry `index` of `layers`."""
        label = f"layer {index} ({spec.target}" + (f" {spec.name!r})" if spec.name else ")")
        layer = self._earlier(spec) if spec.kind == "call" else self._new(spec, label)
        outputs = self._called(layer, spec, label)
        self.layers.setdefault(layer.name, layer)
        self.tensors[spec.name or layer.name] = outputs
        self.previous = outputs[0]

    def _new(self, spec: LayerSpec, label: str) -> keras.layers.Layer:
        if spec.name in self.tensors:
            message = f"{label}: the name {spec.name!r} is used twice"
            raise LayerError(message, code="GC021", help="to call an earlier layer again: `- call: {layer: name}`")
        if spec.kind == "numpy_layer":
            return numpy_layer.build(spec, self.base)
        return build_layer(spec, self.base, label)

    def _earlier(self, spec: LayerSpec) -> keras.layers.Layer:
        if spec.target not in self.layers:
            known = listed(self.layers, "no layer so far")
            help_ = did_you_mean(spec.target, self.layers, f"layers defined before: {known}")
            raise LayerError(f"no earlier layer is called {spec.target!r}", code="GC022", help=help_)
        if spec.name in self.tensors:
            raise LayerError(f"call of {spec.target}: the name {spec.name!r} is used twice", code="GC021")
        return self.layers[spec.target]

    def _called(self, layer: keras.layers.Layer, spec: LayerSpec, label: str) -> list[Any]:
        """Return the outputs of calling `layer` with the entry's tensors and arguments, flat."""
        tensors = self._taken(spec, label)
        kwargs = {name: self._call_argument(value, spec) for name, value in spec.call_kwargs.items()}
        try:
            outputs: list[Any] = keras.tree.flatten(layer(*positional(layer, tensors), **kwargs))
        except GradcheckError:
            raise
        except Exception as error:
            target = spec.target if spec.kind == "layer" else type(layer).__name__
            shapes = listed(str(tuple(t.shape)) for t in tensors)
            arguments = arguments_received(spec.kwargs | spec.call_kwargs, spec.argument)
            received = f"inputs of shape {shapes}; arguments {arguments}"
            how = "name a tensor for each with inputs: [name, ...]"
            help_ = too_few_help(layer, len(tensors), error, how)
            raise layer_failure(error, f"{label} cannot be called", received, target, help_) from error
        if not outputs or not all(keras.utils.is_keras_tensor(t) for t in outputs):
            raise LayerError(f"{label} returns no tensor. Received: {outputs}", code="GC021")
        return outputs

    def _taken(self, spec: LayerSpec, label: str) -> list[Any]:
        """Return the tensors that the entry takes: those it names, else the previous output."""
        if spec.inputs:
            return [self.tensor(name) for name in spec.inputs]
        if self.previous is None or spec.inputs is not None:
            help_ = f"write inputs: [name, ...]. Names so far: {listed(self.tensors)}"
            raise LayerError(f"{label} does not say which inputs it takes", code="GC022", help=help_)
        return [self.previous]

    def tensor(self, name: str) -> Any:
        """Return the tensor called `name`; for `name:N` output N of that layer.

        Raises:
            LayerError: GC022.
        """
        found = self._find(name)
        if found is None:
            help_ = did_you_mean(name, self.tensors, f"names so far: {listed(self.tensors)}")
            raise LayerError(f"no earlier layer or input is called {name!r}", code="GC022", help=help_)
        return found

    def _find(self, name: str) -> Any:
        if name in self.tensors:
            return self.tensors[name][0]
        layer, _, output = name.rpartition(":")
        outputs = self.tensors.get(layer, [])
        return outputs[int(output)] if output.isdigit() and int(output) < len(outputs) else None

    def _call_argument(self, value: Any, spec: LayerSpec) -> Any:
        """Replace names of tensors in a call argument. Keras's own layers take no other text in a call."""
        if isinstance(value, (list, tuple)):
            return [self._call_argument(item, spec) for item in value]
        if not isinstance(value, str):
            return value
        own = ":" in spec.target or spec.kind != "layer"
        found = self._find(value) if own else self.tensor(value)
        return value if found is None else found


def required_arguments(layer: keras.layers.Layer) -> list[str]:
    """Return the names of the arguments that the layer's `call` requires."""
    parameters = inspect.signature(layer.call).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional and p.default is inspect.Parameter.empty]


def positional(layer: keras.layers.Layer, tensors: Sequence[Any]) -> Sequence[Any]:
    """Return the positional arguments of the call: one each if `call` requires several, else one list of them all."""
    parameters = inspect.signature(layer.call).parameters.values()
    takes_any_number = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    several = takes_any_number or len(required_arguments(layer)) > 1
    return tensors if several or len(tensors) == 1 else [list(tensors)]


#: What is said where a layer takes one tensor for a list of them.
_LIST = re.compile(r"list of|not subscriptable|not iterable|unpack", re.IGNORECASE)


def too_few_help(layer: keras.layers.Layer, count: int, error: Exception, how: str) -> str | None:
    """Return `how` to give `layer` more tensors than `count`, if it takes more; None if nothing says so."""
    required = required_arguments(layer)
    if len(required) > count:
        return f"its call takes {', '.join(required)}: {how}"
    return f"it may take a list of inputs: {how}" if count == 1 and _LIST.search(str(error)) else None

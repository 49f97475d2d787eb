"""A Keras model as one flat list of calls, nested models inlined.

Keras keeps a functional model as nodes (one per call of an operation), and a nested model as a single node. A cut may
lie inside a nested model, so the graph is flattened first: every call of a layer or of an operation such as `x + a`, in
the order in which Keras itself runs them, and for each the tensors that it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gradcheck.building.naming import unique_names
from gradcheck.errors import ConfigError
from gradcheck.keras_private import Functional, functional_within, mask_of, nodes_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MODEL_INPUT = -1


class TensorRef(NamedTuple):
    """One tensor of the graph: output `output` of call `call`, or model input `output` where `call` is MODEL_INPUT."""

    call: int
    output: int

    @property
    def is_input(self) -> bool:
        """Whether this is an input of the model."""
        return self.call == MODEL_INPUT


class Source(NamedTuple):
    """Where an argument comes from. `entries` are inputs of nested models, whose dtype and rank it takes on in turn."""

    ref: TensorRef
    entries: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One call of a layer or operation. `sources` maps the id of each KerasTensor argument to where it comes from."""

    index: int
    path: str
    name: str = ""  # the path, with `:N` from its second call on
    operation: Any
    arguments: Any
    sources: Mapping[int, Source]
    outputs: tuple[Any, ...]  # KerasTensors: shape with the batch axis, and dtype

    @property
    def inputs(self) -> tuple[TensorRef, ...]:
        """The tensors that this call takes, without repeats, in argument order."""
        return tuple(dict.fromkeys(source.ref for source in self.sources.values()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """The flattened model. `groups` maps the path of each inlined model (and call of it) to its output tensors."""

    inputs: tuple[Any, ...]
    calls: tuple[Call, ...]
    output_sources: tuple[Source, ...]
    groups: Mapping[str, tuple[TensorRef, ...]]
    functionals: tuple[Functional, ...] = field(repr=False)
    names: Mapping[TensorRef, str]

    @property
    def outputs(self) -> tuple[TensorRef, ...]:
        """The tensors that the model's outputs are made of: they themselves, but for a nested model's conversions."""
        return tuple(source.ref for source in self.output_sources)

    def spec(self, ref: TensorRef) -> Any:
        """The KerasTensor (shape, dtype) of `ref`."""
        return self.inputs[ref.output] if ref.is_input else self.calls[ref.call].outputs[ref.output]

    def name(self, ref: TensorRef) -> str:
        """`conv_0`, or `lstm:1` for a call's second output; for a model input its name."""
        return self.names[ref]

    def layer(self, ref: TensorRef) -> str:
        """The path of the layer that makes `ref`; for a model input its name."""
        return self.name(ref) if ref.is_input else self.calls[ref.call].path


def functional_of(model: Any) -> Functional | None:
    """The graph of layers behind `model`, or None where the model's own `call` decides what runs."""
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return functional_within(model)
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def flatten(model: keras.Model) -> Graph:
    """Flattens `model` into one list of calls.

    Raises:
        ConfigError: GC025, if `model` is not a graph of layers.
    """
    functional = functional_of(model)
    if functional is None:
        raise ConfigError(
            f"the model cannot be cut: {type(model).__name__} {model.name!r} is not a graph of layers, its own call() "
            "decides what runs",
            code="GC025",
            help="give its parts as model.segments (with model.reference for the whole), or build it with the "
            "functional API",
        )
    flattening = _Flattening()
    inputs = {id(tensor): Source(TensorRef(MODEL_INPUT, i)) for i, tensor in enumerate(functional.inputs)}
    outputs = flattening.inline(functional, inputs, prefix="")
    return flattening.graph(functional, tuple(outputs))


class _Flattening:
    """The calls found so far while walking down into nested models."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._groups: list[tuple[str, tuple[TensorRef, ...]]] = []
        self._functionals: dict[int, Functional] = {}

    def inline(self, functional: Functional, known: dict[int, Source], prefix: str) -> list[Source]:
        """Appends the calls of `functional`, whose inputs are `known`, and returns where its outputs come from."""
        self._functionals[id(functional)] = functional
        for node in _nodes_in_order(functional):
            nested = _nested(node)
            sources = (
                self._call(node, known, prefix)
                if nested is None
                else self._nested_call(node, nested, known, f"{prefix}{node.operation.name}")
            )
            known.update(zip(map(id, node.outputs), sources, strict=True))
        return [known[id(tensor)] for tensor in functional.outputs]

    def _call(self, node: Any, known: dict[int, Source], prefix: str) -> list[Source]:
        index = len(self._calls)
        self._calls.append(
            {
                "index": index,
                "path": f"{prefix}{node.operation.name}",
                "operation": node.operation,
                "arguments": node.arguments,
                "sources": {id(tensor): known[id(tensor)] for tensor in node.input_tensors},
                "outputs": tuple(node.outputs),
            }
        )
        return [Source(TensorRef(index, i)) for i in range(len(node.outputs))]

    def _nested_call(self, node: Any, nested: Functional, known: dict[int, Source], path: str) -> list[Source]:
        given = _nested_arguments(node, nested)
        inner = {
            id(entry): _entering(known[id(tensor)], tensor, entry)
            for entry, tensor in zip(nested.inputs, given, strict=True)
        }
        outputs = self.inline(nested, inner, prefix=f"{path}/")
        self._groups.append((path, tuple(source.ref for source in outputs)))
        return outputs

    def graph(self, functional: Functional, outputs: tuple[Source, ...]) -> Graph:
        call_names = unique_names(call["path"] for call in self._calls)
        calls = tuple(Call(name=name, **call) for name, call in zip(call_names, self._calls, strict=True))
        group_names = unique_names(path for path, _ in self._groups)
        return Graph(
            inputs=tuple(functional.inputs),
            calls=calls,
            output_sources=outputs,
            groups={name: refs for name, (_, refs) in zip(group_names, self._groups, strict=True)},
            functionals=tuple(self._functionals.values()),
            names=_tensor_names(functional.inputs, calls),
        )


def _tensor_names(inputs: list[Any], calls: tuple[Call, ...]) -> dict[TensorRef, str]:
    """A unique name for every tensor: a call's name for its first output, `name:1` for its second, and so on."""
    named = {TensorRef(MODEL_INPUT, i): str(tensor.name) for i, tensor in enumerate(inputs)}
    for call in calls:
        for i in range(len(call.outputs)):
            named[TensorRef(call.index, i)] = call.name if i == 0 else f"{call.name}:{i}"
    return dict(zip(named, unique_names(named.values()), strict=True))


def _nodes_in_order(functional: Functional) -> Iterator[Any]:
    """The calls in the order in which Keras runs them, without input layers."""
    return (node for node in nodes_in_order(functional) if node.operation and not node.is_input)


def _nested(node: Any) -> Functional | None:
    """The model that this node calls, if it can be inlined: called on tensors, with no mask but the one they carry."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    if len(args) != 1 or not set(kwargs) <= {"training", "mask"}:
        return None
    given = keras.tree.flatten(kwargs.get("mask"))
    carried = [mask_of(tensor) for tensor in keras.tree.flatten(args[0])]
    own_mask = any(mask is not None for mask in given) and any(a is not b for a, b in zip(given, carried, strict=False))
    return None if own_mask else functional_of(node.operation)


def _nested_arguments(node: Any, nested: Functional) -> list[Any]:
    """The KerasTensors handed to a nested model, in the order of its inputs."""
    given = node.arguments.args[0]
    if isinstance(given, dict) and not isinstance(nested.input, dict):
        return [given[entry.name] for entry in nested.inputs]
    flat: list[Any] = keras.tree.flatten(given)
    return flat


def _entering(source: Source, given: Any, entry: Any) -> Source:
    """Where a nested model's input comes from, remembering a change of dtype or rank that Keras makes on entry."""
    same = given.dtype == entry.dtype and len(given.shape) == len(entry.shape)
    return source if same else Source(source.ref, (*source.entries, entry))

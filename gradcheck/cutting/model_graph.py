"""A Keras model as one flat list of calls, with nested models inlined.

Keras represents a functional model by nodes, one per call of an operation, and a nested model by a single node. A cut
may lie inside a nested model, so the graph is flattened: it lists every call of a layer or of an operation such as `x +
a`, in the order in which Keras runs them, with the tensors that each takes.
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
    """A tensor of the graph: output `output` of call `call`, or model input `output` if `call` is MODEL_INPUT."""

    call: int
    output: int

    @property
    def is_input(self) -> bool:
        """Whether this is an input of the model."""
        return self.call == MODEL_INPUT


class Source(NamedTuple):
    """The origin of an argument. `entries`: inputs of nested models on the way, whose dtype and rank it takes on."""

    ref: TensorRef
    entries: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One call of a layer or operation. `sources` maps the id of each KerasTensor argument to its origin."""

    index: int
    path: str
    name: str = ""  # the path; from its second call on with `:N`
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
    """A flattened model. `groups` maps each inlined model's path (`path:N` for later calls) to its outputs."""

    inputs: tuple[Any, ...]
    calls: tuple[Call, ...]
    output_sources: tuple[Source, ...]
    groups: Mapping[str, tuple[TensorRef, ...]]
    functionals: tuple[Functional, ...] = field(repr=False)
    names: Mapping[TensorRef, str]

    @property
    def outputs(self) -> tuple[TensorRef, ...]:
        """The tensors that the model returns; a nested model may convert their dtype or rank on the way."""
        return tuple(source.ref for source in self.output_sources)

    def spec(self, ref: TensorRef) -> Any:
        """Return the KerasTensor (shape, dtype) of `ref`."""
        return self.inputs[ref.output] if ref.is_input else self.calls[ref.call].outputs[ref.output]

    def name(self, ref: TensorRef) -> str:
        """Return the name of `ref`: `conv_0`, or `lstm:1` for a call's second output; for a model input its name."""
        return self.names[ref]

    def layer(self, ref: TensorRef) -> str:
        """Return the path of the layer that makes `ref`; for a model input its name."""
        return self.name(ref) if ref.is_input else self.calls[ref.call].path


def functional_of(model: Any) -> Functional | None:
    """Return the functional model behind `model`, or None if the model's own `call` decides what runs."""
    # A subclass that overrides `call` still has a graph of layers, which is not what runs.
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        return functional_within(model)
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def flatten(model: keras.Model) -> Graph:
    """Flatten `model` into one list of calls.

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
    """The calls found so far, while nested models are inlined."""

    def __init__(self) -> None:
        self._calls: list[dict[str, Any]] = []
        self._groups: list[tuple[str, tuple[TensorRef, ...]]] = []
        self._functionals: dict[int, Functional] = {}

    def inline(self, functional: Functional, known: dict[int, Source], prefix: str) -> list[Source]:
        """Append the calls of `functional`, whose inputs are `known`, and return the sources of its outputs."""
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
        # A mapping of its own for each call: a nested model that is called twice has the same KerasTensors both times.
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
    """Return a unique name for every tensor: a call's name for its first output, `name:1` for its second, and so on."""
    named = {TensorRef(MODEL_INPUT, i): str(tensor.name) for i, tensor in enumerate(inputs)}
    for call in calls:
        for i in range(len(call.outputs)):
            named[TensorRef(call.index, i)] = call.name if i == 0 else f"{call.name}:{i}"
    return dict(zip(named, unique_names(named.values()), strict=True))


def _nodes_in_order(functional: Functional) -> Iterator[Any]:
    """Return the nodes in the order in which Keras runs them, without input layers."""
    return (node for node in nodes_in_order(functional) if node.operation and not node.is_input)


def _nested(node: Any) -> Functional | None:
    """Return the model that `node` calls, if it can be inlined: called on tensors, with no mask but theirs."""
    args, kwargs = node.arguments.args, node.arguments.kwargs
    if len(args) != 1 or not set(kwargs) <= {"training", "mask"}:
        return None
    given = keras.tree.flatten(kwargs.get("mask"))
    carried = [mask_of(tensor) for tensor in keras.tree.flatten(args[0])]
    # Inlined calls see only the masks on their tensors, so a model that is given another mask stays one call.
    own_mask = any(mask is not None for mask in given) and any(a is not b for a, b in zip(given, carried, strict=False))
    return None if own_mask else functional_of(node.operation)


def _nested_arguments(node: Any, nested: Functional) -> list[Any]:
    """Return the KerasTensors that are passed to a nested model, in the order of its inputs."""
    given = node.arguments.args[0]
    # Keras accepts a dict for a list of inputs, by their names; flattened, it would be in the order of its keys.
    if isinstance(given, dict) and not isinstance(nested.input, dict):
        return [given[entry.name] for entry in nested.inputs]
    flat: list[Any] = keras.tree.flatten(given)
    return flat


def _entering(source: Source, given: Any, entry: Any) -> Source:
    """Return the source of a nested model's input, with the change of dtype or rank that Keras makes on entry."""
    same = given.dtype == entry.dtype and len(given.shape) == len(entry.shape)
    return source if same else Source(source.ref, (*source.entries, entry))

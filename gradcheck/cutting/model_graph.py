"""A Keras model as one flat list of calls, with nested models inlined.

Keras represents a functional model by nodes, one per call of an operation, and a nested model by a single node. A cut
may lie inside a nested model, so the graph is flattened: it lists every call of a layer or of an operation such as `x +
a`, in the order in which Keras runs them, with the tensors that each takes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gradcheck.building.naming import unique_names
from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.cutting.tracing import LayerTrace, TracedCall, is_composite, trace
from gradcheck.errors import ConfigError
from gradcheck.keras_private import Functional, functional_of, mask_of, nodes_in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck.cutting.tracing import Closed

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
    training: bool | None = None  # the flag it is always called with; None for that of the whole call
    autocast: str | None = None  # the dtype to which variables among its arguments are cast

    @property
    def inputs(self) -> tuple[TensorRef, ...]:
        """The tensors that this call takes, without repeats, in argument order."""
        return tuple(dict.fromkeys(source.ref for source in self.sources.values()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A flattened model.

    Attributes:
        inputs: the KerasTensors of the model's inputs.
        calls: in an order in which they can run.
        output_sources: the origin of each output.
        groups: the outputs of each model or layer whose calls are listed, by path (`path:N` for later calls).
        functionals: the functional models among these.
        names: of all tensors.
        opened: the layers made of layers whose calls are listed, an inner one before the one around it.
        closed: the layers made of layers that stay one call.
        batch_size: the only length of a batch for which the calls are right; None for any.
    """

    inputs: tuple[Any, ...]
    calls: tuple[Call, ...]
    output_sources: tuple[Source, ...]
    groups: Mapping[str, tuple[TensorRef, ...]]
    functionals: tuple[Functional, ...] = field(repr=False)
    names: Mapping[TensorRef, str]
    opened: tuple[OpenedLayer, ...] = ()
    closed: tuple[Closed, ...] = ()
    batch_size: int | None = None

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


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedLayer:
    """One call of a layer made of layers whose own calls are listed in the graph.

    Attributes:
        layer: the layer.
        path: its path in reports.
        arguments: the origin of each tensor among its arguments, in flat order.
        masks: the origin of the mask that each of them carries; None if it carries none.
        outputs: the origin of each output in flat order; None for what is no tensor of the graph.
        calls: the indices of the calls inside.
    """

    layer: keras.Layer
    path: str
    arguments: tuple[Source | None, ...]
    masks: tuple[Source | None, ...]
    outputs: tuple[Source | None, ...]
    calls: range


def flatten(
    model: keras.Model, *, training: bool = True, shut: Mapping[int, str] | None = None, batch_size: int | None = None
) -> Graph:
    """Flatten `model` into one list of calls; the layers made of layers in it are traced.

    Args:
        model: a functional or Sequential model.
        training: the flag of the calls that a layer's own `call` may branch on.
        shut: the reasons for layers that must stay one call, by the layer's id.
        batch_size: the length of a batch, if code of the model needs to know it; None to leave it open.

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
    flattening = _Flattening(training=training, shut=shut or {}, batch_size=batch_size)
    inputs = {id(tensor): Source(TensorRef(MODEL_INPUT, i)) for i, tensor in enumerate(functional.inputs)}
    outputs = flattening.inline(functional, inputs, _Around())
    return flattening.graph(functional, tuple(outputs))


class _Around(NamedTuple):
    """The path of a call or of what it lies in, and the `training` flag that is fixed there; None if it is not."""

    path: str = ""
    training: bool | None = None

    def inside(self, path: str) -> _Around:
        """Return the place of `path` inside this one."""
        return self._replace(path="/".join(filter(None, (self.path, path))))


class _Flattening:
    """The calls found so far, while nested models and layers are inlined."""

    def __init__(self, *, training: bool, shut: Mapping[int, str], batch_size: int | None) -> None:
        self._training, self._shut, self._batch_size = training, shut, batch_size
        self._calls: list[dict[str, Any]] = []
        self._groups: list[tuple[str, tuple[TensorRef, ...]]] = []
        self._functionals: dict[int, Functional] = {}
        self._opened: list[OpenedLayer] = []
        self._closed: list[Closed] = []
        self._operations: Counter[str] = Counter()  # how many operations of traced layers have a name

    def inline(self, functional: Functional, known: dict[int, Source], around: _Around) -> list[Source]:
        """Append the calls of `functional`, whose inputs are `known`, and return the sources of its outputs."""
        self._functionals[id(functional)] = functional
        # A model that is wrapped to have symbolic inputs is the model itself, not a part of one.
        wrapped = wraps_one(functional)
        for node in _nodes_in_order(functional):
            self._any_call(node, known, around.inside("" if node.operation is wrapped else node.operation.name))
        return [known[id(tensor)] for tensor in functional.outputs]

    def _any_call(self, node: Any, known: dict[int, Source], at: _Around) -> None:
        """Append one call, or the calls inside it, and make the sources of its outputs known."""
        nested = _nested(node)
        if nested is not None:
            sources = self._nested_call(node, nested, known, at)
        # A layer that stayed one call in a trace stays one.
        elif not isinstance(node, TracedCall) and (found := self._trace(node, at)).calls:
            sources = self._traced_call(found, known, at)
        else:
            sources = self._call(node, known, at)
        known.update(zip(map(id, node.outputs), sources, strict=True))

    def _call(self, node: Any, known: dict[int, Source], at: _Around) -> list[Source]:
        index = len(self._calls)
        self._calls.append(
            {
                "index": index,
                "path": at.path or str(node.operation.name),
                "operation": node.operation,
                "arguments": node.arguments,
                "sources": {id(tensor): known[id(tensor)] for tensor in node.arguments.keras_tensors},
                "outputs": tuple(node.outputs),
                "training": at.training,
                "autocast": getattr(node, "autocast", None),
            }
        )
        return [Source(TensorRef(index, i)) for i in range(len(node.outputs))]

    def _nested_call(self, node: Any, nested: Functional, known: dict[int, Source], at: _Around) -> list[Source]:
        given = _nested_arguments(node, nested)
        # A mapping of its own for each call: a nested model that is called twice has the same KerasTensors both times.
        inner = {
            id(entry): _entering(known[id(tensor)], tensor, entry)
            for entry, tensor in zip(nested.inputs, given, strict=True)
        }
        outputs = self.inline(nested, inner, at)
        self._groups.append((at.path, tuple(source.ref for source in outputs)))
        return outputs

    def _trace(self, node: Any, at: _Around) -> LayerTrace:
        if not is_composite(node.operation):
            return LayerTrace()
        flag = self._training if at.training is None else at.training
        found = trace(node.operation, node.arguments, training=flag, shut=self._shut, batch_size=self._batch_size)
        self._closed += [replace(closed, path=at.inside(closed.path).path) for closed in found.closed]
        return found

    def _traced_call(self, found: LayerTrace, known: dict[int, Source], at: _Around) -> list[Source]:
        inner = {id(entry): known[id(given)] for given, entry in found.entries}
        first = [len(self._calls)]  # the number of calls in the graph before each traced one
        for call in found.calls:
            path = self._numbered(at.inside(call.path).path, call.operation)
            self._any_call(call, inner, _Around(path, at.training if call.training is None else call.training))
            first.append(len(self._calls))
        for opened in found.opened:
            given = opened.arguments.keras_tensors
            arguments, masks, outputs = (
                tuple(inner.get(id(value)) for value in values)
                for values in (given, map(mask_of, given), opened.outputs)
            )
            path, calls = at.inside(opened.path).path, range(first[opened.start], first[opened.stop])
            self._opened.append(
                OpenedLayer(
                    layer=opened.layer, path=path, arguments=arguments, masks=masks, outputs=outputs, calls=calls
                )
            )
            if path:
                self._groups.append((path, tuple(source.ref for source in outputs if source is not None)))
        return [inner[id(tensor)] for tensor in found.outputs]

    def _numbered(self, path: str, operation: Any) -> str:
        """Return the path of a traced operation, numbered as Keras does."""
        if isinstance(operation, keras.Layer):
            return path
        self._operations[path] += 1
        number = self._operations[path] - 1
        return f"{path}_{number}" if number else path

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
            opened=tuple(self._opened),
            closed=tuple(self._closed),
            batch_size=self._batch_size,
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

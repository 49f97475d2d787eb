"""One forward and one backward pass that records each call of a layer, with its tensors and their gradients.

Each call takes and returns copies of tensors, so that a tape has a gradient for every one of them: the gradient that
arrives at the call, and the part that this call alone contributes for its inputs. Layers inside layers are recorded
too, which a graph of calls does not show.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef, flatten
from gradcheck.cutting.run_calls import entered
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import ConfigError
from gradcheck.handoff.execute import eagerly
from gradcheck.handoff.tensors import gradients_of, is_differentiable, scaled, summed, watch
from gradcheck.keras_private import all_layers, logits_of, set_logits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gradcheck.cutting.model_graph import Graph
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem


@dataclass(frozen=True, eq=False, kw_only=True)
class Seen:
    """One call of a layer or an operation.

    Attributes:
        stack: the operations that called it, outermost first, then the operation itself.
        given: the differentiable tensors among its arguments, in order.
        made: the differentiable tensors that it returned.
        hidden: the logits that Keras hides on tensors of `made`, which the loss differentiates in their place.
        began: how many calls had begun before it.
        ended: how many calls had ended before it.
    """

    stack: tuple[Any, ...]
    given: list[Any]
    made: list[Any]
    hidden: list[Any]
    began: int
    ended: int

    @property
    def operation(self) -> Any:
        """The operation that was called."""
        return self.stack[-1]

    @property
    def variables(self) -> list[Any]:
        """The trainable variables of the operation and of the layers inside it."""
        return list(getattr(self.operation, "trainable_variables", ()))

    def is_around(self, other: Seen) -> bool:
        """Whether `other` was called within this call."""
        return self.began < other.began and other.ended < self.ended


@dataclass(frozen=True, eq=False, kw_only=True)
class Walk:
    """The recorded calls and tensors.

    Attributes:
        calls: the calls in the order in which they ended, so that an inner one comes before the one around it.
        inputs: the model's inputs.
        outputs: the model's outputs, as the loss takes them.
        data_loss: the loss without additions by layers and weight penalties.
        extra: these additions; None if there are none.
        graph: the calls that a config can name; None if the model is not a graph of layers.
        state: the state afterwards, by path.
    """

    calls: Sequence[Seen]
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    data_loss: Any
    extra: Any
    graph: Graph | None
    state: Mapping[str, Any]
    _found: Mapping[int, Any]

    def cotangents(self, tensors: Iterable[Any]) -> list[Any]:
        """Return dLoss/dTensor for tensors of the walk and the `value` of variables; None where no gradient flows."""
        return [self._found.get(id(tensor)) for tensor in tensors]

    def own_variables(self, call: Seen) -> list[Any]:
        """Return the layer's own variables that no other call uses: this call alone gives them a gradient."""
        return [variable for variable, calls in self.users if calls == [call]]

    @cached_property
    def users(self) -> list[tuple[Any, list[Seen]]]:
        """The trainable variables of layers, each with the calls that use it (of nested calls the innermost)."""
        found: dict[int, tuple[Any, list[Seen]]] = {}
        for call in self.calls:
            # The layer's own variables alone: those of layers inside it belong to their own calls.
            for variable in getattr(call.operation, "_trainable_variables", ()):
                found.setdefault(id(variable), (variable, []))[1].append(call)
        return [(v, [c for c in calls if not any(map(c.is_around, calls))]) for v, calls in found.values()]

    def path(self, call: Seen) -> str:
        """Return the layer's path in reports: its path in the graph, followed by the names of the layers inside."""
        paths = {} if self.graph is None else {id(c.operation): c.path for c in self.graph.calls}
        for depth, operation in enumerate(call.stack):
            if id(operation) in paths:
                return "/".join([paths[id(operation)], *(inner.name for inner in call.stack[depth + 1 :])])
        return "/".join(inner.name for inner in call.stack[1:]) or str(call.operation.name)


def hidden_logits(tensors: Iterable[Any]) -> list[Any]:
    """Return the logits that Keras hides on the outputs of softmax and sigmoid, for a loss to use in their place."""
    return [logits for tensor in tensors if (logits := logits_of(tensor)) is not None]


def whole(problem: Problem, part: MicroBatch, *, adds: bool = True) -> Walk:
    """Record a walk through the whole model; `adds` is whether the loss has what layers and penalties add."""
    model = problem.model

    def run(x: Sequence[Any]) -> list[Any]:
        outputs = model(problem.model_inputs(x), training=problem.training)
        return list(keras.tree.flatten(outputs))

    try:
        graph = problem.whole_graph if problem.shares_graph else flatten(model)
    except ConfigError:
        # A subclassed model has no graph: its layers are recorded all the same, under their own names.
        graph = None
    variables = [weight.variable for weight in problem.weights]
    return _walk(
        problem,
        part,
        run,
        extra=lambda: summed(model.losses) if adds else None,
        graph=graph,
        models=[model],
        variables=variables,
    )


def parts(problem: Problem, part: MicroBatch, *, adds: bool = True, instead: Mapping[int, Any] | None = None) -> Walk:
    """Record a walk through the segments, one after another, under one tape.

    `instead` has other layers, whose `call` replaces that of a layer by its id.
    """
    graph, extras = problem.graph, list[Any]()

    def run(x: Sequence[Any]) -> list[Any]:
        values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(x)}
        for segment in problem.segments:
            given = [copied(values[ref]) for ref in segment.plan.inputs]
            outputs = segment(given, training=problem.training)
            made = outputs if isinstance(outputs, list) else [outputs]
            values.update(zip(segment.plan.outputs, made, strict=True))
            extras.extend(segment.losses)
        return [entered(source, values[source.ref]) for source in graph.output_sources]

    others = instead or {}
    holders = [*problem.segments, *(layer for layer in others.values() if isinstance(layer, keras.Layer))]
    return _walk(
        problem,
        part,
        run,
        extra=lambda: summed(extras) if adds else None,
        graph=graph,
        models=problem.segments,
        variables=[v for holder in holders for v in holder.trainable_variables],
        instead=others,
    )


def _walk(
    problem: Problem,
    part: MicroBatch,
    run: Callable[[Sequence[Any]], list[Any]],
    *,
    extra: Callable[[], Any],
    graph: Graph | None,
    models: Sequence[Any],
    variables: Sequence[Any],
    instead: Mapping[int, Any] = MappingProxyType({}),
) -> Walk:
    """Run both passes from the snapshot and back to it, eagerly: calls inside a compiled function have no values."""
    tensors = part.tensors
    operations = {id(layer): layer for layer in all_layers(models)}
    operations |= {id(call.operation): call.operation for call in (graph.calls if graph else ())}
    watcher = _Watcher()
    with problem.state.preserved(), eagerly():
        with tf.GradientTape() as tape:
            x = [copied(tensor) for tensor in tensors.x]
            watch(tape, x)
            with watcher.watching(operations.values(), tape, instead):
                outputs = run(x)
            data_loss = problem.loss(tensors.y, outputs, tensors.sample_weight, part.scales)
            more = extra()
            added = None if more is None else scaled(more, part.share)
            loss = data_loss if added is None else data_loss + tf.cast(added, data_loss.dtype)
            target = scaled(loss, tensors.loss_scale)
        values = {id(v.value): v.value for v in variables}
        sources = [*x, *watcher.tensors, *outputs, *hidden_logits(outputs), *values.values()]
        found = dict(zip(map(id, sources), gradients_of(tape, [target], sources), strict=True))
        state = problem.state.read(split=models is problem.segments)
    return Walk(
        calls=watcher.calls,
        inputs=x,
        outputs=outputs,
        data_loss=data_loss,
        extra=added,
        graph=graph,
        state=state,
        _found=found,
    )


@dataclass
class _Watcher:
    """Records the calls of operations, and replaces each tensor that they take or return with a copy."""

    calls: list[Seen] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    _stack: list[Any] = field(default_factory=list)
    _begun: int = 0

    @contextmanager
    def watching(self, operations: Iterable[Any], tape: tf.GradientTape, instead: Mapping[int, Any]) -> Iterator[None]:
        """Record the `call` of each operation inside the block, or of what is `instead` of it, by its id."""
        # Set through `vars`, a function shadows the class's method without Keras's tracking of attributes.
        kept = [(operation, vars(operation).get("call")) for operation in operations]
        for operation, _ in kept:
            vars(operation)["call"] = self._seeing(operation, instead.get(id(operation), operation).call, tape)
        try:
            yield
        finally:
            for operation, own in kept:
                del vars(operation)["call"]
                if own is not None:
                    vars(operation)["call"] = own

    def _seeing(self, operation: Any, call: Callable[..., Any], tape: tf.GradientTape) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            given, made = list[Any](), list[Any]()
            args, kwargs = keras.tree.map_structure(lambda t: self._copy(t, given, tape), (args, kwargs))
            began = self._begun
            self._begun += 1
            self._stack.append(operation)
            try:
                outputs = call(*args, **kwargs)
                outputs = keras.tree.map_structure(lambda t: self._copy(t, made, tape), outputs)
                seen = Seen(
                    stack=tuple(self._stack),
                    given=given,
                    made=made,
                    hidden=hidden_logits(made),
                    began=began,
                    ended=len(self.calls),
                )
            finally:
                self._stack.pop()
            self.calls.append(seen)
            return outputs

        return run

    def _copy(self, tensor: Any, into: list[Any], tape: tf.GradientTape) -> Any:
        if not isinstance(tensor, tf.Tensor) or not is_differentiable(tensor):
            return tensor
        copy = copied(tensor)
        # The loss may differentiate the logits in place of the tensor: they need a copy of their own on the tape.
        for logits in hidden_logits([copy]):
            set_logits(copy, self._copy(logits, [], tape))
        tape.watch(copy)
        self.tensors.append(copy)
        into.append(copy)
        return copy

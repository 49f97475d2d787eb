"""The forward pass as a traced graph, and how far a gradient gets through it."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.building.messages import described, is_foreign, user_location
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.tensors import total_loss
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.problem.problem import Problem

#: Operations that read the shape of a tensor alone: no gradient is missing there.
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs"})


@dataclass(frozen=True, eq=False)
class Stop:
    """An operation that a gradient does not pass, and the line of the user's code that makes it."""

    operation: Any

    @property
    def place(self) -> str:
        """The place as ` (file.py:12)`; empty if no line is the user's."""
        frames = [f for f in self.operation.traceback or () if not is_foreign(f.filename)]
        return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


class GradientPath(NamedTuple):
    """The operations before the loss that a tensor's gradient does not pass, and whether it arrives another way."""

    stops: list[Stop]
    arrives: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """The traced forward pass.

    Attributes:
        inputs: the tensors of the graph that stand for the model's inputs.
        captured: the tensors of the graph that stand for variables, by id of the variable's handle.
        variables: every variable that the graph uses.
        loss: the loss in the graph; None if tracing failed.
        error: why tracing failed; None if it did not.
    """

    inputs: Sequence[Any] = ()
    captured: Mapping[int, Any] = field(default_factory=dict)
    variables: Sequence[Any] = ()
    loss: Any = None
    error: str | None = None
    _passing: dict[tuple[str, str], bool] = field(default_factory=dict)

    def follow(self, source: Any) -> GradientPath:
        """Return how far a gradient gets on its way from the loss to `source`."""
        stops: dict[str, Stop] = {}
        seen, waiting = {source.name}, deque([source])
        while waiting:
            tensor = waiting.popleft()
            for operation in tensor.consumers():
                if operation.name not in self._needed or operation.type in _SHAPES:
                    continue
                passed = [output for output in operation.outputs if self._flows(output, tensor)]
                # tf.py_function always has a gradient in a graph: whether one flows depends on the Python code.
                if operation.type == "EagerPyFunc" or not (passed or self._only_assigned(operation, tensor)):
                    stops.setdefault(operation.name, Stop(operation))
                waiting.extend(output for output in passed if output.name not in seen)
                seen.update(output.name for output in passed)
        return GradientPath(list(stops.values()), self.loss.name in seen)

    def is_assigned(self, source: Any) -> bool:
        """Whether `source` is a variable that the forward pass assigns to."""
        return any(self._only_assigned(operation, source) for operation in source.consumers())

    def name(self, resource: Any) -> str:
        """Return the name of the variable that `resource` stands for in the graph."""
        names = {id(v.handle): str(v.name).removesuffix(":0") for v in self.variables}
        return next((names[h] for h, t in self.captured.items() if t.name == resource.name), str(resource.name))

    def _only_assigned(self, operation: Any, tensor: Any) -> bool:
        """Whether `operation` assigns to the variable `tensor`, rather than assigning its value to another."""
        return "Assign" in operation.type and operation.inputs[0].name == tensor.name

    def _flows(self, output: Any, tensor: Any) -> bool:
        """Whether one operation passes a gradient from `output` back to `tensor`."""
        if not (output.dtype.is_floating or output.dtype.is_complex):
            return False
        edge = output.name, tensor.name
        if edge not in self._passing:
            # Differentiate this one operation: a registered gradient function may still return None for some inputs.
            with output.graph.as_default():
                self._passing[edge] = tf.gradients([output], [tensor])[0] is not None
        return self._passing[edge]

    @cached_property
    def _needed(self) -> frozenset[str]:
        """The names of the operations that the loss depends on, also by way of assignments to variables."""
        waiting, needed = [self.loss.op], {self.loss.op.name}
        while waiting:
            operation = waiting.pop()
            made_by = [tensor.op for tensor in operation.inputs]
            # A placeholder stands for a variable: a read follows assignments by control order, not by an input.
            if operation.type == "Placeholder":
                made_by += [op for tensor in operation.outputs for op in tensor.consumers() if "Assign" in op.type]
            new = {op.name: op for op in made_by if op.name not in needed}
            needed.update(new)
            waiting.extend(new.values())
        return frozenset(needed)


def traced(problem: Problem) -> Trace:
    """Trace the forward pass and the loss of `problem` without running them; layers are left as they were."""
    tensors = batch_tensors(problem)

    def loss(x: Sequence[Any]) -> Any:
        found, _ = problem.loss.of(problem.model, x, tensors.y, tensors.sample_weight, training=problem.training)
        return total_loss(found, problem.model.losses)

    try:
        with _attributes_kept(problem):
            concrete = tf.function(loss, autograph=False).get_concrete_function(list(tensors.x))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything where it meets a symbolic tensor
        location = user_location(error)
        place = f" ({location.path.name}:{location.line})" if location is not None else ""
        return Trace(error=f"{described(error)}{place}")
    captured = concrete.captured_inputs
    # A traced function appends the tensors that it captures to its inputs, in the order of `captured_inputs`.
    inside = concrete.inputs[len(concrete.inputs) - len(captured) :]
    return Trace(
        inputs=concrete.inputs[: len(tensors.x)],
        captured={id(outer): inner for outer, inner in zip(captured, inside, strict=True)},
        variables=concrete.graph.variables,
        loss=concrete.outputs[0],
    )


@contextmanager
def _attributes_kept(problem: Problem) -> Iterator[None]:
    """Restore the attributes of layers after the block: what a layer keeps of a traced call is symbolic."""
    layers = all_layers([problem.model])
    before = [dict(vars(layer)) for layer in layers]
    try:
        yield
    finally:
        for layer, attributes in zip(layers, before, strict=True):
            # Through `vars`: setting attributes one by one would pass through Keras's tracking.
            vars(layer).clear()
            vars(layer).update(attributes)

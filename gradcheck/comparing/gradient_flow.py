"""The forward pass as a graph, and how far a gradient comes in it."""

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

#: Operations that take from a tensor its shape alone: no gradient is missing there.
_SHAPES = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "BroadcastGradientArgs"})


@dataclass(frozen=True, eq=False)
class Stop:
    """An operation that a gradient does not pass, and where the user's code makes it."""

    operation: Any

    @property
    def place(self) -> str:
        """` (file.py:12)`, or nothing where no line is the user's."""
        frames = [f for f in self.operation.traceback or () if not is_foreign(f.filename)]
        return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


class GradientPath(NamedTuple):
    """The operations on a way to the loss that a gradient does not pass, and whether it arrives on another way."""

    stops: list[Stop]
    arrives: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Trace:
    """The traced forward pass.

    Attributes:
        inputs: the model's inputs in the graph.
        captured: what stands in the graph for a variable, by id of the variable's handle.
        variables: every variable that is used.
        loss: the loss in the graph; None if tracing failed.
        error: why tracing failed.
    """

    inputs: Sequence[Any] = ()
    captured: Mapping[int, Any] = field(default_factory=dict)
    variables: Sequence[Any] = ()
    loss: Any = None
    error: str | None = None

    def follow(self, source: Any) -> GradientPath:
        """How far a gradient of `source` comes."""
        stops: dict[str, Stop] = {}
        seen, waiting = {source.name}, deque([source])
        while waiting:
            tensor = waiting.popleft()
            for operation in tensor.consumers():
                if operation.name not in self._needed or operation.type in _SHAPES:
                    continue
                passed = [output for output in operation.outputs if self._flows(output, tensor)]
                if operation.type == "EagerPyFunc" or not (passed or self._only_assigned(operation, tensor)):
                    stops.setdefault(operation.name, Stop(operation))
                waiting.extend(output for output in passed if output.name not in seen)
                seen.update(output.name for output in passed)
        return GradientPath(list(stops.values()), self.loss.name in seen)

    def is_assigned(self, source: Any) -> bool:
        """Whether `source` is a variable that the forward pass assigns to."""
        return any(self._only_assigned(operation, source) for operation in source.consumers())

    def name(self, resource: Any) -> str:
        """The name of the variable that `resource` stands for in the graph."""
        names = {id(v.handle): str(v.name).removesuffix(":0") for v in self.variables}
        return next((names[h] for h, t in self.captured.items() if t.name == resource.name), str(resource.name))

    def _only_assigned(self, operation: Any, tensor: Any) -> bool:
        """Whether `operation` assigns to the variable `tensor`, rather than assigning its value to another."""
        return "Assign" in operation.type and operation.inputs[0].name == tensor.name

    def _flows(self, output: Any, tensor: Any) -> bool:
        """Whether one operation passes a gradient from `output` back to `tensor`."""
        if not (output.dtype.is_floating or output.dtype.is_complex):
            return False
        with output.graph.as_default():
            return tf.gradients([output], [tensor])[0] is not None

    @cached_property
    def _needed(self) -> frozenset[str]:
        """The operations that the loss depends on, by way of what is assigned to variables too."""
        waiting, needed = [self.loss.op], {self.loss.op.name}
        while waiting:
            operation = waiting.pop()
            made_by = [tensor.op for tensor in operation.inputs]
            if operation.type == "Placeholder":
                made_by += [op for tensor in operation.outputs for op in tensor.consumers() if "Assign" in op.type]
            new = {op.name: op for op in made_by if op.name not in needed}
            needed.update(new)
            waiting.extend(new.values())
        return frozenset(needed)


def traced(problem: Problem) -> Trace:
    """Traces the forward pass and the loss of `problem`, with nothing run and nothing left behind in its layers."""
    tensors = batch_tensors(problem)

    def loss(x: Sequence[Any]) -> Any:
        outputs = tf.nest.flatten(problem.model(problem.model_inputs(x), training=problem.training))
        return total_loss(problem.loss(tensors.y, outputs, tensors.sample_weight), problem.model.losses)

    try:
        with _attributes_kept(problem):
            concrete = tf.function(loss, autograph=False).get_concrete_function(list(tensors.x))
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything where it meets a symbolic tensor
        location = user_location(error)
        place = f" ({location.path.name}:{location.line})" if location is not None else ""
        return Trace(error=f"{described(error)}{place}")
    captured = concrete.captured_inputs
    inside = concrete.inputs[len(concrete.inputs) - len(captured) :]
    return Trace(
        inputs=concrete.inputs[: len(tensors.x)],
        captured={id(outer): inner for outer, inner in zip(captured, inside, strict=True)},
        variables=concrete.graph.variables,
        loss=concrete.outputs[0],
    )


@contextmanager
def _attributes_kept(problem: Problem) -> Iterator[None]:
    """Puts back what layers keep on themselves in a call: symbolic tensors are of no use outside."""
    layers = all_layers([problem.model])
    before = [dict(vars(layer)) for layer in layers]
    try:
        yield
    finally:
        for layer, attributes in zip(layers, before, strict=True):
            vars(layer).clear()
            vars(layer).update(attributes)

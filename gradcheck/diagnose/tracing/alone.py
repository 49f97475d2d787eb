"""Search for calls whose own gradient is wrong: each call of the graph by itself, against finite differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.state import Moment, movable_variables
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.run_calls import replay
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.tensors import gradients_of, is_differentiable
from gradcheck.keras_private import called_with
from gradcheck.problem.trace_check import weighted_sum
from gradcheck.problem.twin import float64_twin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.cutting.model_graph import Call
    from gradcheck.problem.problem import Problem

#: Steps of the central differences, relative to the size of a tensor; the first that decides is used.
_STEPS = (2.0**-17, 2.0**-20, 2.0**-23)
#: The slopes on both sides differ by less than this share of their size where there is no kink …
_SMOOTH = 1e-4
#: … and the tape is wrong if it differs from both by more than this share.
_WRONG = 1e-3


class WrongCall(NamedTuple):
    """A call whose own gradient finite differences contradict: its name, its class, and both derivatives."""

    name: str
    kind: str
    tape: float | None
    differences: float

    @property
    def says(self) -> str:
        """The finding in words."""
        tape = "None" if self.tape is None else f"{self.tape:.6g}"
        return (
            f"{self.name} ({self.kind}) is wrong by itself: the tape {tape}, finite differences {self.differences:.6g}"
        )


def wrong_alone(problem: Problem) -> tuple[WrongCall, ...]:
    """Return the calls that are wrong by themselves, in the order of the backward pass.

    Each call runs in the float64 twin, on what it is called with there. Its outputs are summed with random weights, and
    differentiated along one direction of all its floating arguments and weights: by the tape, and by central
    differences. At a kink nothing is decided.
    """
    with float64_twin(problem) as twin, twin.state.preserved(), called_with(twin.training):
        values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(twin.batch.x)}
        found = []
        for call in twin.graph.calls:
            alone = _Alone(call, values, training=twin.training, seed=twin.seed)
            found += alone.wrong()
            alone.run()
        return tuple(reversed(found))


class _Alone:
    """One call, on the values of all tensors before it, to which its outputs are added."""

    def __init__(self, call: Call, values: dict[TensorRef, Any], *, training: bool, seed: int) -> None:
        self._call, self._values, self._training = call, values, training
        layer = call.operation
        self._start = Moment(movable_variables([layer]) if isinstance(layer, keras.Layer) else [])
        self._variables = [v for v in getattr(layer, "trainable_variables", ()) if "float" in v.dtype]
        self._inputs = [ref for ref in call.inputs if is_differentiable(values[ref])]
        self._rng = np.random.default_rng([seed, call.index])

    def run(self) -> None:
        """Run the call, and add its outputs to the values."""
        self._start.put_back()
        replay([self._call], self._values, training=self._training)

    def wrong(self) -> list[WrongCall]:
        """Return the finding, if there is one."""
        points = [self._values[ref] for ref in self._inputs] + [v.value for v in self._variables]
        if not points:
            return []
        along = [self._direction(point) for point in points]
        with tf.GradientTape() as tape:
            inputs = [copied(self._values[ref]) for ref in self._inputs]
            tape.watch(inputs)
            target = self._target(inputs)
        if target is None:
            return []
        gradients = gradients_of(tape, [target], [*inputs, *(v.value for v in self._variables)])
        known = [
            tf.reduce_sum(tf.convert_to_tensor(g) * d) for g, d in zip(gradients, along, strict=True) if g is not None
        ]
        tape_says = float(tf.add_n(known)) if known else None
        here = float(target)
        for step in _STEPS:
            right, left = (self._moved(along, side * step) for side in (1.0, -1.0))
            slopes = (right - here) / step, (here - left) / step
            size = max(map(abs, slopes))
            if abs(slopes[0] - slopes[1]) <= _SMOOTH * size:
                slope = (right - left) / (2 * step)
                if abs((tape_says or 0.0) - slope) <= _WRONG * size:
                    return []
                return [WrongCall(self._call.name, type(self._call.operation).__name__, tape_says, slope)]
        return []

    def _direction(self, point: Any) -> Any:
        """Return a random direction, as large as the tensor."""
        scale = float(tf.sqrt(tf.reduce_mean(tf.square(tf.cast(point, tf.float64))))) or 1.0
        return tf.constant(self._rng.uniform(0.5, 1.5, tuple(point.shape)) * scale, point.dtype)

    def _moved(self, along: Sequence[Any], step: float) -> float:
        """Return the target with every point moved by `step` along its direction."""
        count = len(self._inputs)
        inputs = [self._values[ref] + step * d for ref, d in zip(self._inputs, along[:count], strict=True)]
        return float(self._target(inputs, along[count:], step))

    def _target(self, inputs: Sequence[Any], along: Sequence[Any] = (), step: float = 0.0) -> Any:
        """Run the call on `inputs` from the start; return the weighted sum of its outputs, None if none is a float."""
        self._start.put_back()
        held = [tf.identity(v.value) for v in self._variables]
        for variable, direction in zip(self._variables, along, strict=False):
            variable.assign(variable.value + step * direction)
        values = {**self._values, **dict(zip(self._inputs, inputs, strict=True))}
        replay([self._call], values, training=self._training)
        made = [values[TensorRef(self._call.index, i)] for i in range(len(self._call.outputs))]
        for variable, value in zip(self._variables, held, strict=True) if along else ():
            variable.assign(value)
        floating = [output for output in made if isinstance(output, tf.Tensor) and output.dtype.is_floating]
        return tf.add_n([weighted_sum(output) for output in floating]) if floating else None

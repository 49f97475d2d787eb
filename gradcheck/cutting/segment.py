"""A part of the model between two cuts, as a Keras layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from gradcheck.cutting.run_calls import replay
from gradcheck.keras_private import Variable, all_layers, own_losses

if TYPE_CHECKING:
    from gradcheck.cutting.cut import SegmentPlan
    from gradcheck.cutting.model_graph import Graph


class Segment(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """Replays the calls of one segment inside a single Keras layer.

    It is a layer, not a sub-model: Keras sub-models cannot return an input as an output, and calling the layers one by
    one would drop the `add_loss` values of a layer that is called twice.

    `segment(x, training=...)` takes one tensor, or a list in the order of `input_names`, and returns one tensor, or a
    list in the order of `output_names`. Shapes and dtypes are those of the boundary; masks are carried by the tensors.
    """

    def __init__(self, graph: Graph, plan: SegmentPlan, *, owned: set[int], dtype: Any) -> None:
        """Make segment `plan` of `graph`; `owned` are the ids of the variables that earlier segments own."""
        super().__init__(name=plan.name, autocast=False, dtype=dtype)
        self.supports_masking = True
        self.plan = plan
        self.input_names = [graph.name(ref) for ref in plan.inputs]
        self.output_names = [graph.name(ref) for ref in plan.outputs]
        self._calls = tuple(graph.calls[index] for index in plan.calls)
        self.used_layers = _distinct_layers(self._calls)  # a list, so that Keras tracks them
        self.borrowed = _borrowed_variables(self._calls)  # a list, so that Keras tracks them
        self._penalised = [v for v in self.trainable_variables if id(v) not in owned]
        self.built = True

    def call(self, inputs: Any, *, training: bool = False) -> Any:
        """Return the segment's outputs: one tensor, or a list."""
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        values = dict(zip(self.plan.inputs, given, strict=True))
        replay(self._calls, values, training=training, separate=self.plan.reused)
        outputs = [values[ref] for ref in self.plan.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Return None: the layers inside have set each output's mask."""

    @property
    def losses(self) -> list[Any]:
        """The losses that layers added in the last call, and the weight penalties that no earlier segment counts."""
        return self.added_losses + self.penalties

    @property
    def added_losses(self) -> list[Any]:
        """The losses that layers added in the last call."""
        return [loss for layer in all_layers(self.used_layers) for loss in own_losses(layer)]

    @property
    def penalties(self) -> list[Any]:
        """The weight penalties that no earlier segment counts."""
        return [v.regularizer(v) for v in self._penalised if v.regularizer is not None]


def _borrowed_variables(calls: Any) -> list[Any]:
    """Return the variables among the arguments of calls, as a tied embedding in `einsum(x, embedding.embeddings)`."""
    flat = [value for call in calls for value in keras.tree.flatten((call.arguments.args, call.arguments.kwargs))]
    return list({id(value): value for value in flat if isinstance(value, Variable)}.values())


def _distinct_layers(calls: Any) -> list[keras.Layer]:
    """Return the layers that `calls` use, each once, in the order of their first call."""
    layers = {id(call.operation): call.operation for call in calls if isinstance(call.operation, keras.Layer)}
    return list(layers.values())

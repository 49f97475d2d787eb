"""A part of the model between two cuts, as a Keras layer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.cutting.cut import make_plan
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.run_calls import entered, replay
from gradcheck.cutting.tracing.operations import AddedLoss
from gradcheck.errors import RunError
from gradcheck.keras_private import Variable, all_layers, own_losses
from gradcheck.phrases import some
from gradcheck.placement.devices import on

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from gradcheck.cutting.cut import SegmentPlan
    from gradcheck.cutting.model_graph import Graph


class Segment(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """Replays the calls of one segment inside a single Keras layer.

    It is a layer, not a sub-model: Keras sub-models cannot return an input as an output, and calling the layers one by
    one would drop the `add_loss` values of a layer that is called twice.

    `segment(x, training=...)` takes one tensor, or a list in the order of `input_names`, and returns one tensor, or a
    list in the order of `output_names`. Shapes and dtypes are those of the boundary; masks are carried by the tensors.
    """

    def __init__(
        self,
        graph: Graph,
        plan: SegmentPlan,
        *,
        owned: Collection[int] = (),
        dtype: Any,
        on_copy: Callable[[Any], None] | None = None,
        device: str = "",
    ) -> None:
        """Make a segment.

        Args:
            graph: the model.
            plan: the segment's calls, inputs and outputs.
            owned: the ids of the variables that earlier segments own.
            dtype: the dtype policy.
            on_copy: called with the copy of each output that calls inside the segment take as well.
            device: where it runs, by TensorFlow's full name; "" where TensorFlow chooses.
        """
        super().__init__(name=plan.name, autocast=False, dtype=dtype)
        self.supports_masking = True
        self.plan, self.device = plan, device
        self.function: SegmentFunction | None = None
        self.input_names = [graph.name(ref) for ref in plan.inputs]
        self.output_names = [graph.name(ref) for ref in plan.outputs]
        self._calls = tuple(graph.calls[index] for index in plan.calls)
        self.used_layers = _distinct_layers(self._calls)  # a list, so that Keras tracks them
        self._added = tuple(TensorRef(c.index, 0) for c in self._calls if isinstance(c.operation, AddedLoss))
        self._batch_size, self._on_copy = graph.batch_size, on_copy
        # Other boundaries may have their first axis from elsewhere, as all steps of all sequences in one.
        self._of_batch = [r.is_input or tuple(graph.spec(r).shape[:1]) == (graph.batch_size,) for r in plan.inputs]
        self.borrowed = _borrowed_variables(self._calls)  # a list, so that Keras tracks them
        self._penalised = [v for v in self.trainable_variables if id(v) not in owned]
        self.built = True

    def call(self, inputs: Any, *, training: bool = False, taps: Mapping[TensorRef, Any] | None = None) -> Any:
        """Return the segment's outputs: one tensor, or a list. `taps` as in `SegmentFunction`."""
        given = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        self._require_length(given)
        values = dict(zip(self.plan.inputs, given, strict=True))
        with self.on_device():
            reused, on_copy = self.plan.reused, self._on_copy
            replay(self._calls, values, training=training, separate=reused, on_copy=on_copy, taps=taps)
            for ref in self._added:
                self.add_loss(values[ref])
        outputs = [values[ref] for ref in self.plan.outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def on_device(self) -> AbstractContextManager[Any]:
        """Return the scope of its device, for what a caller computes with its tensors, such as their gradients."""
        return on(self.device)

    def _require_length(self, given: Sequence[Any]) -> None:
        """Raise for a batch of another length than the model's code was traced with.

        Raises:
            RunError: GC055.
        """
        of_batch = (tensor for tensor, is_due in zip(given, self._of_batch, strict=True) if is_due)
        lengths = {tensor.shape[0] for tensor in of_batch if tensor.shape.rank} if self._batch_size else set()
        if lengths and self._batch_size not in lengths:
            raise RunError(
                f"{self.name} takes batches of {self._batch_size} examples: the model's own `call` reads the length of "
                f"the batch. Received: {some([str(length) for length in lengths])}",
                code="GC055",
                help="call it on the whole batch, or set data.batch_size to the length of a slice",
            )

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """Return None: the layers inside have set each output's mask."""

    def penalise(self, variables: Iterable[Any]) -> None:
        """Count the weight penalties of further variables: of layers that no segment calls."""
        self._penalised += variables

    @property
    def losses(self) -> list[Any]:
        """The losses that layers added in the last call, and the weight penalties that no earlier segment counts."""
        return self.added_losses + self.penalties

    @property
    def added_losses(self) -> list[Any]:
        """The losses that layers added in the last call."""
        return [loss for layer in [self, *all_layers(self.used_layers)] for loss in own_losses(layer)]

    @property
    def penalties(self) -> list[Any]:
        """The weight penalties that no earlier segment counts."""
        return [v.regularizer(v) for v in self._penalised if v.regularizer is not None]


class SegmentFunction:
    """A segment that is traced: to start the operations of a deep one takes longer than to compute them.

    It is for segments whose outputs have no masks and that add no loss. Where an output has no cotangent, its VJP has
    zeros in place of the None of an eager segment.

    Attributes:
        taps: zeros that are added to each output that calls inside the segment take as well. No tape outside of the
            function sees that tensor: the gradient for its zeros is its own.
    """

    def __init__(self, segment: Segment, outputs: Sequence[Any]) -> None:
        """Trace nothing yet. `outputs` are those of an eager run, with whose shapes alone it can be called."""
        made = zip(segment.plan.outputs, outputs, strict=True)
        self.taps = {ref: tf.zeros_like(output) for ref, output in made if ref in segment.plan.reused}
        self._traced = tf.function(partial(self._call, segment), autograph=False)

    def __call__(self, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the segment's outputs, in the order of its plan."""
        outputs = self._traced(list(inputs), list(self.taps.values()), training=training)
        return list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]

    def _call(self, segment: Segment, inputs: list[Any], taps: list[Any], *, training: bool) -> Any:
        return segment(inputs, training=training, taps=dict(zip(self.taps, taps, strict=True)))


class WholeGraph:
    """All calls of a graph, run as one segment: what its model computes if they were found right.

    Attributes:
        segment: holds the losses that layers added in the last run.
        copies: in the last run, the copy of each tensor in `separate`.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        dtype: Any,
        separate: Collection[TensorRef] = (),
        on_copy: Callable[[Any], None] | None = None,
    ) -> None:
        """Take the graph and its dtype policy; `on_copy` is called with the copy of each tensor in `separate`."""
        (whole,) = make_plan(graph, [range(len(graph.calls))]).segments
        outputs = tuple(dict.fromkeys((*whole.outputs, *separate)))
        plan = replace(whole, outputs=outputs, reused=frozenset(separate))
        self.segment = Segment(graph, plan, dtype=dtype, on_copy=on_copy)
        self.copies: dict[TensorRef, Any] = {}
        self._graph, self._separate = graph, separate

    def __call__(self, x: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the model's outputs for `x`, its inputs in order."""
        values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(x)}
        made = self.segment([values[ref] for ref in self.segment.plan.inputs], training=training)
        values.update(zip(self.segment.plan.outputs, made if isinstance(made, list) else [made], strict=True))
        self.copies = {ref: values[ref] for ref in self._separate}
        return [entered(source, values[source.ref]) for source in self._graph.output_sources]


def _borrowed_variables(calls: Any) -> list[Any]:
    """Return the variables among the arguments of calls, as a tied embedding in `einsum(x, embedding.embeddings)`."""
    flat = [value for call in calls for value in keras.tree.flatten((call.arguments.args, call.arguments.kwargs))]
    return list({id(value): value for value in flat if isinstance(value, Variable)}.values())


def _distinct_layers(calls: Any) -> list[keras.Layer]:
    """Return the layers that `calls` use, each once, in the order of their first call."""
    layers = {id(call.operation): call.operation for call in calls if isinstance(call.operation, keras.Layer)}
    return list(layers.values())

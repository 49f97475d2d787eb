"""A problem: a built model, its plan, one batch, the loss and a snapshot of state. The input of every method."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.building.endpoints import input_names, packed_inputs
from gradcheck.building.naming import unique_names
from gradcheck.building.state_variables import state_variables
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.segment import Segment
from gradcheck.keras_private import replace_value
from gradcheck.placement.devices import copied_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import keras

    from gradcheck.batch import Batch
    from gradcheck.batch.loss import Loss
    from gradcheck.batch.slices import Slice
    from gradcheck.building.state import State
    from gradcheck.config.schema import Config
    from gradcheck.cutting.captured import Captured
    from gradcheck.cutting.cut import Plan
    from gradcheck.cutting.model_graph import Graph
    from gradcheck.cutting.time.unrolled import TimeCut
    from gradcheck.results.report import Kind, Quantity


class TensorKey(NamedTuple):
    """The identity of a compared tensor: its kind and unique path; in training also its quantity.

    A weight has a gradient, whose `quantity` is None, and a value after the step.
    """

    kind: Kind
    path: str
    quantity: Quantity | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Weight:
    """A trainable variable of the whole model, in the reference's order, and the segments that use it."""

    path: str
    variable: Any
    segments: tuple[int, ...] = ()

    @property
    def key(self) -> TensorKey:
        """The key of its gradient."""
        return TensorKey("weight", self.path)

    @property
    def layer(self) -> str:
        """The path of its layer."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name in the layer."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, eq=False, kw_only=True)
class Problem:
    """Everything that a check needs.

    `graph` and `segments` describe the split model. It shares its layers with `model` unless the user gave a separate
    reference; then `graph` is not the whole model's, and boundaries have no counterpart there. For a time split `graph`
    is unrolled, and only the boundaries outside the recurrent layers have a counterpart.
    """

    model: keras.Model
    graph: Graph
    plan: Plan | None
    segments: tuple[Segment, ...]
    shares_graph: bool
    weights: tuple[Weight, ...]
    counterparts: Mapping[int, Weight]  # by id of a TensorFlow variable of the split model
    batch: Batch
    loss: Loss
    state: State
    config: Config  # from which a twin in another precision is prepared
    training: bool
    execution: str
    precision: str
    seed: int
    memory_budget: int  # bytes
    base: Path  # the folder that paths in the config are relative to
    captured: tuple[Captured, ...] = ()  # constants that were computed from weights while the model was built
    time: TimeCut | None = None  # the cut along time
    slices: tuple[Slice, ...] = ()  # the micro-batches; empty if the batch is not sliced
    schedule: str = "gpipe"
    reference_file: Path | None = None  # where the reference is read from, in place of running the whole model
    on_arrival: Callable[[TensorKey, Any], Any] | None = None  # takes each gradient of a split, returns what is kept
    loss_scale: Any = None  # in training, the factor of the loss that is differentiated
    made: dict[str, Any] = field(default_factory=dict)  # objects that several methods share: twins, compiled losses

    @property
    def is_cut(self) -> bool:
        """Whether the split computes the gradients in another way than the reference does."""
        return not self.shares_graph or (self.plan is not None and separates(self.plan, self.segments))

    @property
    def draws(self) -> bool:
        """Whether a forward pass draws random numbers."""
        return self.training and any("seed" in state.path for state in self.state.variables)

    @property
    def owned_variables(self) -> tuple[Any, ...]:
        """The segments' variables in the reference's order; separate parts have variables of their own."""
        if self.shares_graph:
            return tuple(weight.variable for weight in self.weights)
        of_parts = (v for segment in self.segments for v in segment.trainable_variables)
        by_weight = {self.counterparts[id(v.value)].path: v for v in of_parts}
        return tuple(by_weight[weight.path] for weight in self.weights)

    @cached_property
    def captured_in(self) -> Mapping[str, tuple[str, ...]]:
        """By path of a weight, the holders of constants that were computed from it while the model was built."""
        weights = {**self.counterparts, **{id(weight.variable.value): weight for weight in self.weights}}
        found: dict[str, dict[str, None]] = {}
        for variable, holder in ((v, constant.holder) for constant in self.captured for v in constant.variables):
            if id(variable.value) in weights:
                found.setdefault(weights[id(variable.value)].path, {})[holder] = None
        return {path: tuple(holders) for path, holders in found.items()}

    @property
    def whole_graph(self) -> Graph:
        """The graph that Keras runs when the whole model is called, if the segments share its layers."""
        return self.graph if self.time is None else self.time.whole

    @property
    def whole_boundaries(self) -> dict[TensorRef, TensorRef]:
        """The boundaries that the whole model has as well, each with its tensor in `whole_graph`."""
        if self.plan is None or not self.shares_graph:
            return {}
        if self.time is None:
            return {ref: ref for ref in self.plan.boundaries}
        return {ref: self.time.origin[ref] for ref in self.plan.boundaries if ref in self.time.origin}

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        """The names of the model's inputs, each once."""
        return input_names(self.model)

    def used_variables(self, tape: Any) -> list[Any]:
        """Return the TensorFlow variables of the split model on `tape`, borrowed ones included."""
        return [variable for variable in tape.watched_variables() if id(variable) in self.counterparts]

    def model_inputs(self, flat: Sequence[Any]) -> Any:
        """Return `flat`, in the order of the model's inputs, in the structure that the model takes."""
        return packed_inputs(self.model, flat)

    def input_key(self, index: int) -> TensorKey:
        """Return the key of the gradient of model input `index`."""
        return TensorKey("input", self.input_names[index])

    def boundary_key(self, ref: TensorRef) -> TensorKey:
        """Return the key of the cotangent of the boundary tensor `ref`."""
        return TensorKey("boundary", self.graph.name(ref))

    def crossing(self, cotangents: Mapping[TensorRef, Any]) -> dict[TensorKey, Any]:
        """Return the gradients of inputs and boundaries among all `cotangents`; None where there is none."""
        inputs = {self.input_key(i): cotangents.get(TensorRef(MODEL_INPUT, i)) for i in range(len(self.graph.inputs))}
        boundaries = self.plan.boundaries if self.plan and self.shares_graph else ()
        return inputs | {self.boundary_key(ref): cotangents.get(ref) for ref in boundaries}


def make_segments(
    graph: Graph, plan: Plan, *, dtype: Any, held: Sequence[Any] = (), devices: Sequence[str] = ()
) -> tuple[Segment, ...]:
    """Return the segments of `plan` as layers; a weight penalty belongs to the first segment that uses the weight.

    Those of the variables in `held` that no segment uses belong to the last segment: the whole model counts them.
    `devices` are where the segments run, one for each; none for TensorFlow's own choice.
    """
    owned: set[int] = set()
    segments = []
    for segment_plan, device in zip(plan.segments, devices or [""] * len(plan.segments), strict=True):
        segment = Segment(graph, segment_plan, owned=owned, dtype=dtype, device=device)
        owned |= {id(v) for v in segment.trainable_variables}
        segments.append(segment)
    segments[-1].penalise(v for v in held if id(v) not in owned)
    return tuple(segments)


def move_to_devices(segments: Sequence[Segment]) -> None:
    """Move the variables of segments that have a device there: weights, statistics, seeds, recurrent states.

    One that several segments use goes to the first of them.
    """
    moved: set[int] = set()
    for segment in (segment for segment in segments if segment.device):
        for variable in (*segment.variables, *(state.variable for state in state_variables([segment]))):
            if id(variable) not in moved:
                replace_value(variable, partial(copied_to, segment.device))
            moved.add(id(variable))


@contextmanager
def run_here(segments: Sequence[Segment]) -> Iterator[None]:
    """Run segments in this process inside the block, whatever their devices are; their variables stay there."""
    devices = [segment.device for segment in segments]
    for segment in segments:
        segment.device = ""
    try:
        yield
    finally:
        for segment, device in zip(segments, devices, strict=True):
            segment.device = device


def separates(plan: Plan, segments: Sequence[Segment]) -> bool:
    """Whether `plan` cuts anything: a tensor crosses between segments, or several of them use one variable."""
    used = [id(variable) for segment in segments for variable in segment.trainable_variables]
    return bool(plan.boundaries) or len(set(used)) < len(used)


def name_weights(
    model: keras.Model, uses: Mapping[int, tuple[int, ...]], names: Mapping[int, str]
) -> tuple[Weight, ...]:
    """Return the trainable variables of `model` with unique paths.

    Args:
        model: the whole model.
        uses: the segments that use a variable, by its id.
        names: the path of a variable, by its id, where it is not Keras's own.
    """
    variables = model.trainable_variables
    paths = unique_names(names.get(id(v), v.path) for v in variables)
    return tuple(
        Weight(path=path, variable=v, segments=uses.get(id(v), ())) for path, v in zip(paths, variables, strict=True)
    )

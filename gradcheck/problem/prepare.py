"""From a config to a problem: session, model, batch, loss, cut and snapshot, in that order."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import keras
import tensorflow as tf

from gradcheck.batch import example_inputs, make_batch
from gradcheck.batch.loss import build_loss
from gradcheck.batch.loss_shapes import check_shapes
from gradcheck.batch.slices import Slice, make_slices
from gradcheck.building.endpoints import name_outputs
from gradcheck.building.precision import precision_scope
from gradcheck.building.recursion import deep_recursion
from gradcheck.building.sources import KnownBatch, build_model, match_variables
from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.building.state import State
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.cutting.captured import captured, reads_recorded
from gradcheck.cutting.cut import Plan, cut_after, cut_every, cut_parts
from gradcheck.cutting.model_graph import flatten
from gradcheck.cutting.time.unrolled import cut_time
from gradcheck.cutting.tracing.attribute_paths import variable_paths
from gradcheck.placement.membership import joined
from gradcheck.problem.budget import bounded_variables, require_memory, resolve_budget
from gradcheck.problem.estimate import estimate
from gradcheck.problem.placed import Placed, devices_of, require_one_each
from gradcheck.problem.problem import Problem, Weight, make_segments, move_to_devices, name_weights, separates
from gradcheck.problem.trace_check import Traced, any_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gradcheck.batch import Batch
    from gradcheck.building.sources import BuiltModel
    from gradcheck.config.schema import Config, SplitConfig
    from gradcheck.cutting.captured import Captured
    from gradcheck.cutting.model_graph import Graph
    from gradcheck.cutting.segment import Segment
    from gradcheck.cutting.time.unrolled import TimeCut
    from gradcheck.placement.health import Servers


@contextmanager
def session(config: Config) -> Iterator[Servers | None]:
    """Enter a Keras session for this config alone: names, seeds, floatx, dtype policy, devices.

    Yield the servers of its cluster, if it has one.

    Raises:
        RunError: GC061, GC062, if one of them fails, now or later.
    """
    keras.utils.clear_session(free_memory=False)
    with joined(config.placement) as servers, precision_scope(config.precision), _settings_kept():
        keras.utils.set_random_seed(config.seed)
        try:
            yield servers
        finally:
            keras.utils.clear_session(free_memory=False)


#: Python frames that building a deep model may need: Keras walks its graph recursively.
_RECURSION = 20_000


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Restore the process-wide settings that user code may change, so that no config affects another."""
    image_data_format, epsilon = keras.config.image_data_format(), keras.config.epsilon()
    eager = tf.config.functions_run_eagerly()
    try:
        with deep_recursion(at_least=_RECURSION):
            yield
    finally:
        keras.config.set_image_data_format(image_data_format)
        keras.config.set_epsilon(epsilon)
        tf.config.run_functions_eagerly(eager)


def prepare(config: Config, base: Path, reference_file: Path | None = None) -> Problem:
    """Build everything that `config` describes. Call it inside its `session`.

    `reference_file` is where the reference is read from, so that the whole model never runs here.

    Raises:
        ConfigError: if a name, a layer or the split does not fit.
        RunError: if user code raises, or data cannot be made.
    """
    parts = _built(config, base)
    shut: dict[int, str] = {}
    fixed = False
    while True:
        outline = _cut_up(config, parts, shut, fixed=fixed)
        problem = _problem(config, base, outline, reference_file)
        wrong = {} if outline.plan is None else _wrongly_traced(problem, outline)
        if not wrong:
            return problem
        if outline.graph.batch_size is None and not fixed and _slice_length(config) is not None:
            fixed = True  # the code of a layer may need the length of the batch without saying so
        else:
            shut |= wrong  # these layers stay one call: each round leaves fewer that are opened


def _problem(config: Config, base: Path, outline: Outline, reference_file: Path | None) -> Problem:
    """Return the problem of a model that is built and cut: batch, loss and snapshot are made."""
    model = outline.model
    sharing, apart = (outline.segments, ()) if outline.shares_graph else ((), outline.segments)
    state = State([model, *sharing], seed=config.seed, parts=apart, names=outline.names)
    budget = resolve_budget(config.memory_budget)
    if reference_file is None or not (config.placement and config.placement.cluster):
        costs = estimate(outline.graph, outline.segments, model.variables, config.data.batch_size, budget=budget)
        require_memory(config, costs, budget)
    loss = build_loss(config.loss, config.loss_weights, model, base=base, seed=config.seed)
    batch = make_batch(config.data, model, config.loss, seed=config.seed, base=base)
    check_shapes(config, model, batch, loss)
    _require_compilable(config, batch)
    slices: tuple[Slice, ...] = ()
    if config.microbatches > 1:
        slices = make_slices(config.microbatches, model, batch, loss, training=config.training)
    state.restore()  # making the batch, and slicing it, may have run the model
    weights, counterparts = _weights(outline)
    return Problem(
        model=model,
        graph=outline.graph,
        plan=outline.plan,
        segments=outline.segments,
        shares_graph=outline.shares_graph,
        weights=weights,
        counterparts=counterparts,
        batch=batch,
        loss=loss,
        state=state,
        config=config,
        training=config.training,
        execution=config.execution,
        precision=config.precision,
        seed=config.seed,
        memory_budget=budget,
        base=base,
        captured=outline.captured,
        time=outline.time,
        slices=slices,
        schedule=config.schedule,
        reference_file=reference_file,
    )


def _wrongly_traced(problem: Problem, outline: Outline) -> dict[int, str]:
    """Return the layers whose traced calls do not compute what the layer does, by id, and what differs."""
    graph = outline.graph if outline.time is None else outline.time.whole
    state = problem.state if outline.shares_graph else State([outline.whole], seed=problem.seed)
    # Calls that are right for one length alone are run on micro-batches of that length.
    first = problem.slices[0] if graph.batch_size is not None and problem.slices else None
    return Traced(
        model=outline.whole,
        graph=graph,
        batch=problem.batch if first is None else first.of_batch(problem.batch),
        loss=problem.loss if problem.loss.of_model is None else any_loss,
        state=state,
        training=problem.training,
        precision=problem.precision,
    ).wrong()


def _require_compilable(config: Config, batch: Batch) -> None:
    """Raise for strings under XLA: TensorFlow 2.21 aborts the process if a compiled function takes some."""
    if config.execution == "xla" and any(tensor.dtype == tf.string for tensor in (*batch.x, *batch.y)):
        with at("execution"):
            message = "XLA takes no strings, and the model has an input of strings. Received: execution: xla"
            raise KeyedRunError(message, code="GC059", help="execution: graph compiles all but the strings")


@dataclass(frozen=True, eq=False, kw_only=True)
class Outline:
    """A built model and its cut, before there is a batch.

    Attributes:
        model: the whole model.
        whole: the model that the graph is of: the composition of the parts if there is a separate reference.
        graph: its calls; for a time split the unrolled ones.
        plan: None if the config has no split.
        segments: of the plan.
        shares_graph: whether the segments are made of the whole model's layers.
        captured: constants that were computed from weights while the model was built.
        names: the paths of variables in reports, by id, where they are not Keras's own.
        time: the cut along time.
    """

    model: keras.Model
    whole: keras.Model
    graph: Graph
    plan: Plan | None
    segments: tuple[Segment, ...]
    shares_graph: bool
    captured: tuple[Captured, ...]
    names: Mapping[int, str]
    time: TimeCut | None = None


class _Built(NamedTuple):
    """A built model, and the tape of what was read of its variables meanwhile."""

    built: BuiltModel
    tape: tf.GradientTape

    @property
    def whole(self) -> keras.Model:
        """The model that is cut."""
        return self.built.model if self.built.composition is None else self.built.composition


def outlined(config: Config, base: Path) -> Outline:
    """Build the model and cut it. Call it inside the config's `session`."""
    return _cut_up(config, _built(config, base), {})


def _built(config: Config, base: Path) -> _Built:
    with bounded_variables(resolve_budget(config.memory_budget)), reads_recorded() as tape:
        example, devices = partial(example_inputs, config.data, base), devices_of(config)
        known = KnownBatch(config.data.batch_size, example, config.training, devices)
        return _Built(build_model(config.model, base, known), tape)


def _cut_up(config: Config, parts: _Built, shut: Mapping[int, str], *, fixed: bool = False) -> Outline:
    """Return the outline of a built model; the layers in `shut`, by id, stay one call each.

    With `fixed` the calls are found for batches of the config's own length alone.
    """
    built, whole = parts.built, parts.whole
    graph = _flattened(config, whole, shut, fixed=fixed)
    if wraps_one(whole) is not None:
        name_outputs(whole, (graph.layer(ref) for ref in graph.outputs))
    constants = captured(parts.tape, [whole, built.model], graph)
    time = cut_time(graph, config.split.time) if config.split and config.split.time else None
    graph, plan = (time.graph, time.plan) if time else (graph, plan_split(config, graph, built))
    held = whole.trainable_variables
    devices = devices_of(config)
    if devices and plan is not None:
        require_one_each(devices, plan)
    dtype = built.model.dtype_policy
    segments = () if plan is None else make_segments(graph, plan, dtype=dtype, held=held, devices=devices)
    if config.placement is not None and segments:
        Placed(graph, segments, config.placement, config.data.batch_size).require_memory()
    move_to_devices(segments)
    shares_graph = built.composition is None
    if plan is not None and shares_graph and not separates(plan, segments):
        plan = replace(plan, warnings=(*plan.warnings, _uncut(graph, plan)))
    return Outline(
        model=built.model,
        whole=whole,
        graph=graph,
        plan=plan,
        segments=segments,
        shares_graph=shares_graph,
        captured=constants,
        names=_names(built),
        time=time,
    )


def _flattened(config: Config, model: keras.Model, shut: Mapping[int, str], *, fixed: bool) -> Graph:
    """Return the calls of `model`, for batches of any length if its code allows that, else of the config's own."""
    length = _slice_length(config)
    if fixed:
        return flatten(model, training=config.training, shut=shut, batch_size=length)
    graph = flatten(model, training=config.training, shut=shut)
    if not graph.closed or length is None:
        return graph
    other = flatten(model, training=config.training, shut=shut, batch_size=length)
    return other if len(other.calls) > len(graph.calls) else graph


def _slice_length(config: Config) -> int | None:
    """Return the length of the batch, or of each micro-batch; None if these are unequal."""
    length, rest = divmod(config.data.batch_size, config.microbatches)
    return None if rest else length


def _names(built: BuiltModel) -> Mapping[int, str]:
    """Return the paths of the variables in subclassed models, by id: by attributes, behind the name of a part."""
    names: dict[int, str] = {}
    for model in (built.model,) if built.parts is None or built.composition is not None else built.parts:
        layer = wraps_one(model)
        prefix = "" if model is built.model else f"{model.name}/"
        names |= {} if layer is None else {key: f"{prefix}{path}" for key, path in variable_paths(layer).items()}
    return names


def _uncut(graph: Graph, plan: Plan) -> str:
    """Return the warning for a split without a hand-off."""
    calls = [graph.calls[call].name for segment in plan.segments for call in segment.calls]
    what = f"comes out as one segment ({calls[0]})" if len(calls) == 1 else "hands nothing from segment to segment"
    return (
        f"the split {what}: no method can show here that a split is right; `vjp` is the reference's own computation. "
        "Cut a model of several calls, or give the parts as model.segments; `numeric` checks gradients without a split"
    )


def plan_split(config: Config, graph: Graph, built: BuiltModel) -> Plan | None:
    """Return the plan of cuts between calls; None if the config has no split.

    Raises:
        CutError: for a name that the model lacks, or a cut that adds nothing.
    """
    if isinstance(config.model, SegmentsSource):
        names = [part.name for part in built.parts or ()]
        return cut_after(graph, names[:-1], segment_names=names)
    return None if config.split is None else _cut(config.split, graph)


def _cut(split: SplitConfig, graph: Graph) -> Plan:
    if split.after is not None:
        return cut_after(graph, split.after)
    if split.parts is not None:
        return cut_parts(graph, split.parts)
    return cut_every(graph)


def _weights(outline: Outline) -> tuple[tuple[Weight, ...], Mapping[int, Weight]]:
    """Return the whole model's weights, and for every variable of the split model its counterpart among them."""
    whole = list(outline.model.trainable_variables)
    distinct = {id(v): v for segment in outline.segments for v in segment.trainable_variables}
    ours = whole if outline.shares_graph else list(distinct.values())
    matched = range(len(whole)) if outline.shares_graph else match_variables(ours, whole)
    index_of = {id(v): index for v, index in zip(ours, matched, strict=True)}
    uses: dict[int, tuple[int, ...]] = {}
    for segment in outline.segments:
        for v in (v for v in segment.trainable_variables if id(v) in index_of):  # a borrowed one may belong to no model
            counterpart = id(whole[index_of[id(v)]])
            uses[counterpart] = (*uses.get(counterpart, ()), segment.plan.index)
    weights = name_weights(outline.model, uses, outline.names)
    return weights, {id(v.value): weights[index_of[id(v)]] for v in ours}

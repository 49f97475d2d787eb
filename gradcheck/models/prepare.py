"""From a config to a problem: session, model, batch, loss, cut, snapshot, in that order."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import keras

from gradcheck.config.model import SegmentsSource
from gradcheck.errors import ConfigError
from gradcheck.models.budget import bounded_variables, check_fits, resolve_budget
from gradcheck.models.cut import Plan, cut_after, cut_every, cut_parts
from gradcheck.models.data import make_batch
from gradcheck.models.estimate import estimate
from gradcheck.models.graph import flatten
from gradcheck.models.loss import build_loss
from gradcheck.models.precision import precision_scope
from gradcheck.models.problem import Problem, Weight, make_segments, name_weights
from gradcheck.models.sources import build_model, match_variables
from gradcheck.models.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gradcheck.config.schema import Config, SplitConfig
    from gradcheck.models.graph import Graph
    from gradcheck.models.segment import Segment
    from gradcheck.models.sources import BuiltModel


@contextmanager
def session(config: Config) -> Iterator[None]:
    """A Keras session of this config's own: names, seeds, floatx and dtype policy as if it were alone."""
    keras.utils.clear_session(free_memory=False)
    with precision_scope(config.precision):
        keras.utils.set_random_seed(config.seed)
        try:
            yield
        finally:
            keras.utils.clear_session(free_memory=False)


def prepare(config: Config, base: Path) -> Problem:
    """Builds all that `config` describes. Call it inside its `session`.

    Raises:
        ConfigError: if a name, a layer or the split does not fit.
        RunError: if user code raises, or data cannot be made.
    """
    outline = outlined(config, base)
    model = outline.model
    state = State([model, *outline.segments], seed=config.seed)
    budget = resolve_budget(config.memory_budget)
    costs = estimate(outline.graph, outline.segments, model.variables, config.data.batch_size, budget=budget)
    check_fits(costs.weights + costs.tape, budget)
    loss = build_loss(config.loss, config.loss_weights, model, base=base, seed=config.seed)
    batch = make_batch(config.data, model, config.loss, seed=config.seed, base=base)
    state.restore()  # making the batch may have run the model
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
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class Outline:
    """A built model and how it is cut, before there is a batch. `plan` is None where the config has no split."""

    model: keras.Model
    graph: Graph
    plan: Plan | None
    segments: tuple[Segment, ...]
    shares_graph: bool


def outlined(config: Config, base: Path) -> Outline:
    """Builds the model and cuts it. Call it inside the config's `session`."""
    with bounded_variables(resolve_budget(config.memory_budget)):
        built = build_model(config.model, base)
        graph = flatten(built.model if built.composition is None else built.composition)
    plan = plan_split(config, graph, built)
    segments = () if plan is None else make_segments(graph, plan, dtype=built.model.dtype_policy)
    return Outline(model=built.model, graph=graph, plan=plan, segments=segments, shares_graph=built.composition is None)


def plan_split(config: Config, graph: Graph, built: BuiltModel) -> Plan | None:
    """Where the config cuts the model; None where it does not.

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
    if split.every is not None:
        return cut_every(graph)
    raise ConfigError("split.time is not available yet", code="GC032", help="cut with after, every or parts")


def _weights(outline: Outline) -> tuple[tuple[Weight, ...], Mapping[int, Weight]]:
    """The whole model's weights, and for every variable of a segment its counterpart among them."""
    of_segments = {id(v): v for segment in outline.segments for v in segment.trainable_variables}
    whole = list(outline.model.trainable_variables)
    if outline.shares_graph:
        position = {id(v): i for i, v in enumerate(whole)}
        index_of = {key: position[key] for key in of_segments}
    else:
        index_of = dict(zip(of_segments, match_variables(list(of_segments.values()), whole), strict=True))
    uses: dict[int, tuple[int, ...]] = {}
    for segment in outline.segments:
        for v in segment.trainable_variables:
            counterpart = id(whole[index_of[id(v)]])
            uses[counterpart] = (*uses.get(counterpart, ()), segment.plan.index)
    weights = name_weights(outline.model, uses)
    return weights, {key: weights[index] for key, index in index_of.items()}

"""The plan of a config's segments, as `gradcheck plan` prints it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradcheck.config.keyed import located
from gradcheck.cutting.cost import flops, tensor_bytes
from gradcheck.cutting.cut import accepted_names
from gradcheck.problem.budget import resolve_budget
from gradcheck.problem.estimate import estimate
from gradcheck.problem.placed import Placed, require_one_each
from gradcheck.problem.prepare import outlined, session
from gradcheck.results.plan import BoundaryReport, PlannedSegment, PlanReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config.load import LoadedConfig
    from gradcheck.cutting.model_graph import Graph, TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.prepare import Outline


def outline(loaded: LoadedConfig, stage: Callable[[str], None]) -> PlanReport:
    """Build and cut the model without computing anything, and return the plan.

    Args:
        loaded: the config.
        stage: called with the name of each stage as it begins.

    Raises:
        ConfigError: if a name, a layer or the split does not fit the model.
        RunError: if the model cannot be built.
    """
    stage("building")
    here = loaded.config.model_copy(update={"placement": None})  # no worker is needed to plan for it
    with session(here):
        with located(loaded):
            found = outlined(here, loaded.base)
        return _report(loaded, found)


def _report(loaded: LoadedConfig, found: Outline) -> PlanReport:
    graph, batch = found.graph, loaded.config.data.batch_size
    budget = resolve_budget(loaded.config.memory_budget)
    costs = estimate(graph, found.segments, found.model.variables, batch, budget=budget)
    return PlanReport(
        name=loaded.name,
        config=str(loaded.path),
        batch_size=batch,
        names=() if found.segments else accepted_names(graph),
        segments=tuple(_segment(graph, segment, batch) for segment in found.segments),
        memory=costs.by_name if found.segments else {},
        warnings=found.plan.warnings if found.plan else (),
        **_placed(loaded, found),
        notes=(*(closed.note for closed in found.graph.closed), *(found.plan.notes if found.plan else ())),
    )


def _placed(loaded: LoadedConfig, found: Outline) -> dict[str, Any]:
    """Return the devices of the config's placement, and what crosses between them; nothing without one."""
    placement = loaded.config.placement
    if placement is None or found.plan is None:
        return {}
    with located(loaded):
        require_one_each(placement.devices, found.plan)
    planned = Placed(found.graph, found.segments, placement, loaded.config.data.batch_size)
    return {"devices": planned.devices(), "crossing": planned.traffic(found.plan)}


def _segment(graph: Graph, segment: Segment, batch: int) -> PlannedSegment:
    return PlannedSegment(
        index=segment.plan.index,
        name=segment.plan.name,
        layers=tuple(graph.calls[call].name for call in segment.plan.calls),
        parameters=sum(math.prod(v.shape) for v in segment.weights),
        flops=batch * sum(flops(graph.calls[call]) for call in segment.plan.calls),
        inputs=tuple(_boundary(graph, ref, batch) for ref in segment.plan.inputs),
        outputs=tuple(_boundary(graph, ref, batch) for ref in segment.plan.outputs),
    )


def _boundary(graph: Graph, ref: TensorRef, batch: int) -> BoundaryReport:
    spec: Any = graph.spec(ref)
    return BoundaryReport(
        name=graph.name(ref),
        shape=tuple(batch if axis is None and i == 0 else axis for i, axis in enumerate(spec.shape)),
        dtype=spec.dtype,
        bytes=tensor_bytes(spec, batch),
    )

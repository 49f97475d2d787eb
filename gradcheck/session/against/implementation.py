"""Another implementation of a problem's layer or function: built beside it, with its names, values, batch and loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.endpoints import name_outputs, output_names
from gradcheck.errors import RunError
from gradcheck.methods.by_engine.asked_function import FACTORY, is_of_engine, new_run
from gradcheck.problem.prepare import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.sections.model import ModelSource
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Sides
    from gradcheck.session.layer import Target


@dataclass(frozen=True, eq=False, kw_only=True)
class Implementation:
    """The problem of the other side.

    Attributes:
        problem: its weights and outputs have the names of the first side's, so that both have the same keys.
        same_state: whether it also has the first side's state: statistics, seeds.
    """

    problem: Problem
    same_state: bool


def other_source(problem: Problem, given: Any, target: Target, *, masked: bool) -> tuple[str, ModelSource]:
    """Return the name of another implementation, and its source: that of `problem` with it in place of `target`."""
    if target.live is not None:
        return target.live.beside(given, target, masked=masked)
    model: Any = problem.config.model
    kwargs = {**model.kwargs, "target": given}
    if is_of_engine(given):
        return given, model.model_copy(update={"factory": FACTORY, "kwargs": {**kwargs, "run": new_run()}})
    return given, model.model_copy(update={"kwargs": kwargs})


def implementation(problem: Problem, source: ModelSource, sides: Sides) -> Implementation:
    """Build `source` with the weights of `problem`, matched by order and shape, and its batch and loss.

    Args:
        problem: the first side.
        source: the other side's model.
        sides: their names.

    Raises:
        RunError: GC051 if the other side has other weights or outputs; or any error of `prepare`.
    """
    other = prepare(
        problem.config.model_copy(update={"model": source, "memory_budget": problem.memory_budget}), problem.base
    )
    ours, theirs = ([w.variable for w in side.weights] for side in (problem, other))
    _require_alike("weights", sides, _shapes(ours), _shapes(theirs))
    _require_alike("outputs", sides, problem.batch.output_shapes, other.batch.output_shapes)
    _require_alike("dtypes of outputs", sides, *([str(o.dtype) for o in p.model.outputs] for p in (problem, other)))
    problem.state.restore()
    _assign(ours, theirs)
    states = [[state.variable for state in side.state.variables] for side in (problem, other)]
    same_state = _shapes(states[0]) == _shapes(states[1])
    if same_state:
        _assign(*states)
    with_values = replace(other, batch=problem.batch, loss=problem.loss, state=other.state.retaken())
    return Implementation(problem=named_as(problem, with_values), same_state=same_state)


def named_as(problem: Problem, other: Problem) -> Problem:
    """Return `other`, which has as many weights and outputs as `problem`, with their names: both have the same keys."""
    name_outputs(other.model, output_names(problem.model))
    weights = tuple(replace(b, path=a.path) for a, b in zip(problem.weights, other.weights, strict=True))
    return replace(other, weights=weights)


def _assign(sources: Sequence[Any], targets: Sequence[Any]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.assign(tf.cast(source.value, target.dtype))


def _shapes(variables: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _require_alike(what: str, sides: Sides, ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    if list(ours) != list(theirs):
        raise RunError(
            f"{sides.candidate} has other {what} than {sides.reference}, so that they cannot be compared. "
            f"Received: {_listed(theirs)}, beside {_listed(ours)}",
            code="GC051",
            help=f"both need {what.rpartition(' ')[2]} of the same shapes and dtypes, in the same order",
        )


def _listed(shapes: Sequence[Any]) -> str:
    return ", ".join(map(str, shapes)) or "none"

"""The problem built once more: in another precision (a twin), or as a copy with variables of its own (a replica)."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.precision import precision_scope
from gradcheck.building.sources.live import is_live
from gradcheck.errors import RunError
from gradcheck.keras_private import policies_replaced, session_trackers, set_session_trackers
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.problem.problem import Problem

_SAME_EACH_TIME = "let the factory build the same model each time, with layers of its own"


@contextmanager
def twin(problem: Problem, precision: str) -> Iterator[Problem]:
    """Enter the problem in `precision`, in a Keras session of its own; `problem` itself if that is its precision.

    The twin is prepared once, and takes weights, state and batch from `problem` each time it is entered. It has no
    split, and so no boundaries, unless the model is given as segments. Use it inside only: afterwards Keras's precision
    and session are the original's again.

    Raises:
        RunError: GC051 if the model, built once more, has other weights; or any error of `prepare`.
    """
    if problem.precision == precision:
        yield problem
        return
    if precision not in problem.made:
        # Only the whole model is differentiated in a twin: segments would be built in vain.
        budget = problem.memory_budget  # `auto` is of the run as a whole, which has begun
        changes = {"precision": precision, "split": None, "memory_budget": budget, "placement": None}
        config = problem.config.model_copy(update=changes)
        # A layer that names a dtype would be as coarse in the twin, and its rounding look like a wrong gradient.
        with _session_set_aside(), session(config), policies_replaced(precision):
            problem.made[precision] = Replica(problem=prepare(config, problem.base), trackers=session_trackers())
    with problem.made[precision].entered() as other, precision_scope(precision):
        yield _with_values_of(problem, other)


def float64_twin(problem: Problem) -> AbstractContextManager[Problem]:
    """Return the twin in float64, which shows which of two sides has the larger rounding error."""
    return twin(problem, "float64")


@dataclass(frozen=True, eq=False, kw_only=True)
class Replica:
    """A copy of a problem, in the same precision and with the same split, and its Keras session."""

    problem: Problem
    trackers: tuple[Any, Any]

    @contextmanager
    def entered(self) -> Iterator[Problem]:
        """Enter the copy's session; afterwards the session is the previous one again."""
        with _session_set_aside():
            set_session_trackers(self.trackers)
            yield self.problem


def replica(problem: Problem) -> Replica:
    """Prepare the problem once more, so that two copies can be trained independently.

    Weights, state and all seeds, that of the session included, have the values of the original's snapshot.

    Live objects are their own copy: two runs of them are one after another, each from the snapshot, and a copy would
    not be what the user's own step trains.

    Raises:
        RunError: GC051 if the model, built once more, is the same object or another model; or any error of `prepare`.
    """
    if is_live(problem.config.model):
        return Replica(problem=problem, trackers=session_trackers())
    config = problem.config.model_copy(update={"memory_budget": problem.memory_budget})
    with _session_set_aside(), session(config):
        other = prepare(config, problem.base)
        _require_copy(problem, other)
        problem.state.restore()
        _copy(problem.state.movable, other.state.movable)
        # The original's batch, not the copy's: a data factory may return other data each time.
        copy = replace(other, batch=problem.batch, slices=problem.slices, state=other.state.retaken())
        return Replica(problem=copy, trackers=session_trackers())


@contextmanager
def _session_set_aside() -> Iterator[None]:
    """Restore Keras's session afterwards (names, seed generator and dtype policy), so that the body may clear it."""
    kept = session_trackers()
    try:
        yield
    finally:
        set_session_trackers(kept)


def _with_values_of(problem: Problem, other: Problem) -> Problem:
    """Return `other` with the weights, the state and the batch of `problem`."""
    problem.state.restore()
    _copy(problem.model.variables, other.model.variables)
    # `variables` of a model lacks some of the state: recurrent states and the metrics of layers.
    _copy([s.variable for s in problem.state.variables], [s.variable for s in other.state.variables])
    given, batch = problem.batch, other.batch
    weight = None
    if given.sample_weight is not None and batch.sample_weight is not None:
        weight = _cast(given.sample_weight, batch.sample_weight)
    return replace(
        other,
        batch=replace(batch, x=_cast(given.x, batch.x), y=_cast(given.y, batch.y), sample_weight=weight),
        # The snapshot that `other` was prepared with holds the initial values, not the copied ones.
        state=other.state.retaken(),
    )


def _require_copy(problem: Problem, other: Problem) -> None:
    """Raise if the copy shares variables with the original, or has other names than tensors are compared by."""
    original = {id(variable) for variable in _own_variables(problem)}
    shared = [variable.path for variable in _own_variables(other) if id(variable) in original]
    if shared:
        raise RunError(
            f"training compares two copies of the model, and built a second time it has the first one's variables. "
            f"Received: {shared[0]} once more",
            code="GC051",
            help=_SAME_EACH_TIME,
        )
    # `strict=False`: `_copy` reports another number of variables.
    for was, now in zip(_names(problem), _names(other), strict=False):
        if was != now:
            raise RunError(
                f"the model, built a second time for training, has other names. Received: {now}, for {was}",
                code="GC051",
                help=_SAME_EACH_TIME,
            )


def _own_variables(problem: Problem) -> list[Any]:
    """Return the variables of the model and of its parts."""
    return [variable for layer in (problem.model, *problem.segments) for variable in layer.variables]


def _names(problem: Problem) -> list[str]:
    """Return the paths by which tensors are compared."""
    return [*(weight.path for weight in problem.weights), *(state.path for state in problem.state.variables)]


def _copy(sources: Sequence[Any], targets: Sequence[Any]) -> None:
    shapes, expected = [[tuple(v.shape) for v in variables] for variables in (targets, sources)]
    if shapes != expected:
        raise RunError(
            "the model, built a second time for its twin, has other variables. "
            f"Received: {len(shapes)} of them, for {len(expected)}",
            code="GC051",
            help=_SAME_EACH_TIME,
        )
    for source, target in zip(sources, targets, strict=True):
        target.assign(tf.cast(source.value, target.dtype))


def _cast(values: Sequence[Any], like: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(None if v is None else tf.cast(v, target.dtype) for v, target in zip(values, like, strict=True))

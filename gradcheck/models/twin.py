"""A float64 twin of a problem: the same model, weights, state and batch, computed in double precision."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from keras.src.backend.common import global_state  # where Keras holds names, seeds and policies of a session

from gradcheck.errors import RunError
from gradcheck.models.prepare import prepare, session
from gradcheck.models.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.models.problem import Problem

DOUBLE = "float64"


@contextmanager
def float64_twin(problem: Problem) -> Iterator[Problem]:
    """The problem prepared once more in float64, in a Keras session of its own; one that is in float64 as it is.

    Boundaries have no part in it: it has no split, but for a model that is given as segments. Use it inside only:
    afterwards Keras's precision and session are the original's again.

    Raises:
        RunError: GC051 if the model, built once more, has other weights; or what `prepare` raises.
    """
    if problem.precision == DOUBLE:
        yield problem
        return
    config = problem.config.model_copy(update={"precision": DOUBLE, "split": None})
    with _session_set_aside(), session(config):
        yield _with_values_of(problem, prepare(config, problem.base))


@contextmanager
def _session_set_aside() -> Iterator[None]:
    """Lets the body clear Keras's session, and puts this one back: its names, seed generator and dtype policy."""
    kept = global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER
    try:
        yield
    finally:
        global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = kept


def _with_values_of(problem: Problem, twin: Problem) -> Problem:
    """`twin` with the weights, the state and the batch of `problem`."""
    problem.state.restore()
    _copy(problem.model.variables, twin.model.variables)
    _copy([s.variable for s in problem.state.variables], [s.variable for s in twin.state.variables])
    given, batch = problem.batch, twin.batch
    weight = None
    if given.sample_weight is not None and batch.sample_weight is not None:
        weight = _cast(given.sample_weight, batch.sample_weight)
    return replace(
        twin,
        batch=replace(batch, x=_cast(given.x, batch.x), y=_cast(given.y, batch.y), sample_weight=weight),
        state=State([twin.model, *twin.segments], seed=problem.seed),
    )


def _copy(sources: Sequence[Any], targets: Sequence[Any]) -> None:
    shapes, expected = [[tuple(v.shape) for v in variables] for variables in (targets, sources)]
    if shapes != expected:
        raise RunError(
            "the model, built a second time for its float64 twin, has other variables. "
            f"Received: {len(shapes)} of them, for {len(expected)}",
            code="GC051",
            help="let the factory build the same model each time",
        )
    for source, target in zip(sources, targets, strict=True):
        target.assign(tf.cast(source.value, target.dtype))


def _cast(values: Sequence[Any], like: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(None if v is None else tf.cast(v, target.dtype) for v, target in zip(values, like, strict=True))

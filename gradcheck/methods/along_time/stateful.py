"""`stateful`: the chunks pass in turn through `stateful=True` layers. A negative control: the states have no gradient.

The layer keeps its states in variables. A chunk reads them as constants, so that no gradient flows to the chunk that
wrote them: truncated backpropagation through time. Losses are right, and gradients are not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.cutting.time.unrolled import unrolled
from gradcheck.errors import ConfigError
from gradcheck.methods.along_time.time_contributions import recorded_split
from gradcheck.problem.problem import make_segments

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.cutting.time.unrolled import TimeCut
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem


def stateful(problem: Problem, options: MethodOptions) -> Gradients:  # noqa: ARG001 - every method takes its options
    """Return the gradients that remain if states stay in variables; run eagerly.

    Raises:
        ConfigError: GC027 without a time split.
    """
    time = time_cut(problem, "stateful")
    fed = unrolled(time.whole, time.stack, stateful=True)
    # Keras creates the states of a stateful layer when it builds it; these layers count as built.
    for layer in fed.layers.values():
        layer.make_states(problem.batch.size)
    segments = make_segments(fed.graph, fed.plan, dtype=problem.model.dtype_policy)
    chunked = replace(problem, graph=fed.graph, plan=fed.plan, segments=segments, time=fed)
    return recorded_split(chunked, execution="eager")


def time_cut(problem: Problem, method: str) -> TimeCut:
    """Return the problem's cut along time.

    Raises:
        ConfigError: GC027 if there is none.
    """
    if problem.time is None:
        raise ConfigError(
            f"method {method} needs a time split, and this config cuts the model between layers",
            code="GC027",
            help="write split: {time: {chunks: 2}}, or remove the method",
        )
    return problem.time

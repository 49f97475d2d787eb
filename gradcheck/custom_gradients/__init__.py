"""Checks of the functions that `tf.custom_gradient` decorates, at the calls that the model makes of them.

    with watching() as watch:
        problem = prepare(config, base)
        findings = check_custom_gradients(problem, watch)

The user's code must be loaded while it is watched: later it is too late to see what it decorates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.catalogue import title
from gradcheck.custom_gradients.call_checks import findings_in
from gradcheck.custom_gradients.seen_calls import Watch, watching
from gradcheck.results.report import Diagnosis

if TYPE_CHECKING:
    from gradcheck.custom_gradients.call_checks import CallMistake
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.problem.problem import Problem

__all__ = ["Watch", "check_custom_gradients", "custom_gradients_of", "watching"]


def custom_gradients_of(problem: Problem, watch: Watch) -> list[DecoratedCall]:
    """The calls of custom gradients in one forward pass and its loss, run eagerly and put back afterwards."""
    batch = problem.batch
    with problem.state.preserved(), watch.recording() as calls:
        outputs = tf.nest.flatten(problem.model(problem.model_inputs(batch.x), training=problem.training))
        problem.loss(batch.y, outputs, batch.sample_weight)
    return calls


def check_custom_gradients(problem: Problem, watch: Watch) -> tuple[Diagnosis, ...]:
    """What is wrong with the custom gradients of the model and its loss: each mistake of a function once."""
    found: dict[tuple[str, CallMistake | str], Diagnosis] = {}
    calls = custom_gradients_of(problem, watch)
    with problem.state.preserved():
        for call in calls:
            for finding in findings_in(call, seed=problem.seed):
                found.setdefault((call.place, finding.kind), _diagnosis(call, finding))
    return tuple(found.values())


def _diagnosis(call: DecoratedCall, finding: CallMistake) -> Diagnosis:
    return Diagnosis(
        code=finding.code,
        title=title(finding.code),
        segment=None,
        layer=None,
        confidence="exact",
        evidence=f"{call.place}: {finding.evidence}",
        fix=finding.fix,
    )

"""Checks of functions under `tf.custom_gradient`, at the calls that the model makes of them.

    with watching() as watch:
        problem = prepare(config, base)
        findings = check_custom_gradients(problem, watch)

The user's code must be loaded inside the block: a function that was decorated earlier is not seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.catalogue import title
from gradcheck.custom_gradients.call_checks import findings_in
from gradcheck.custom_gradients.seen_calls import Watch, watch_of_now, watching
from gradcheck.results.report import Diagnosis

if TYPE_CHECKING:
    from gradcheck.custom_gradients.call_checks import CallMistake
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.problem.problem import Problem

__all__ = ["Watch", "check_custom_gradients", "custom_gradients_of", "watch_of_now", "watching"]


def custom_gradients_of(problem: Problem, watch: Watch) -> list[DecoratedCall]:
    """Return the calls of custom gradients in one eager forward pass and its loss; state is restored afterwards."""
    batch = problem.batch
    with problem.state.preserved(), watch.recording() as calls:
        problem.loss.of(problem.model, batch.x, batch.y, batch.sample_weight, training=problem.training)
    return calls


def check_custom_gradients(problem: Problem, watch: Watch) -> tuple[Diagnosis, ...]:
    """Return the mistakes in the custom gradients of the model and its loss, each mistake of a function once."""
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

"""GC108 for a whole model: the candidate called it in inference where the reference trains, or the other way round."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.comparing.tape import monolithic
from gradcheck.diagnose.wording import named
from gradcheck.handoff.execute import Execution

if TYPE_CHECKING:
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Confidence, Diagnosis


def in_other_mode(observed: Observed) -> list[Diagnosis]:
    """Return GC108 if the whole model gives all that was observed when it runs with the other training flag."""
    problem = observed.problem
    other = replace(problem, training=not problem.training)
    agreement = observed.explained_by(Execution(other, monolithic, execution=problem.execution, split=False)())
    if agreement is None:
        return []
    evidence = f"with training={other.training} the whole model has the observed gradients and values"
    sure: Confidence = "exact" if agreement.close else "likely"
    return [named("GC108", evidence, where="the whole model", confidence=sure)]

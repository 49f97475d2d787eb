"""Diagnosis of a compiled reference: run eagerly, it agrees with the candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.comparing.tape import monolithic
from gradcheck.diagnose.wording import named
from gradcheck.handoff.execute import Execution

if TYPE_CHECKING:
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Diagnosis


def compiled_differently(observed: Observed) -> list[Diagnosis]:
    """Return GC606 if the reference, run eagerly, has the observed gradients."""
    problem = observed.problem
    # Random layers draw other numbers when compiled: an eager run could not agree.
    if problem.execution == "eager" or problem.draws:
        return []
    eager = Execution(problem, monolithic, execution="eager", split=False)()
    if observed.explained_by(eager) is None:
        return []
    evidence = f"run eagerly, the whole model has the observed gradients; in {problem.execution} it has others"
    return [named("GC606", evidence, where="the whole model")]

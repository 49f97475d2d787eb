"""Whether a mismatch is the compiled reference's doing: run eagerly, it agrees with the candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.comparing.tape import monolithic
from gradcheck.diagnose.wording import named
from gradcheck.handoff.execute import Execution

if TYPE_CHECKING:
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Diagnosis


def compiled_differently(observed: Observed) -> list[Diagnosis]:
    """GC606 where the eager reference has the observed gradients. Random layers draw other numbers when compiled."""
    problem = observed.problem
    if problem.execution == "eager" or problem.draws:
        return []
    eager = Execution(problem, monolithic, execution="eager", split=False)()
    if observed.explained_by(eager) is None:
        return []
    evidence = f"run eagerly, the whole model has the observed gradients; in {problem.execution} it has others"
    return [named("GC606", evidence, where="the whole model")]

"""Diagnosis of compilation on one side alone: of the reference, or of the candidate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.comparing.tape import monolithic
from gradcheck.diagnose.wording import named
from gradcheck.handoff.execute import Execution
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Diagnosis

_FIX = "{}ompare without random layers (`training: false`, a rate of 0), or leave out `jit_compile=True`."


def compiled_differently(observed: Observed) -> list[Diagnosis]:
    """Return GC606 if the reference has the observed gradients once it is run as the candidate was."""
    problem = observed.problem
    if problem.draws:
        # Random layers draw other numbers under XLA: a graph without it draws those of an eager run.
        return _by_xla(observed)
    if problem.execution == "eager":
        return []
    eager = Execution(problem, monolithic, execution="eager", split=False)()
    if observed.explained_by(eager) is None:
        return []
    evidence = f"run eagerly, the whole model has the observed gradients; in {problem.execution} it has others"
    return [named("GC606", evidence, where="the whole model")]


def _by_xla(observed: Observed) -> list[Diagnosis]:
    said = _drawn_by_xla(observed)
    if not said:
        return []
    compiled = Execution(observed.problem, monolithic, execution="xla", split=False)()
    if observed.explained_by(compiled) is None:
        return []
    return [named("GC606", f"{said}. Under XLA, the whole model has the observed gradients too", fix=_fix(observed))]


def under_xla(observed: Observed, found: Sequence[Diagnosis]) -> Sequence[Diagnosis]:
    """Return the diagnoses of a candidate with what XLA has to do with it, if it compiled any of it.

    Where random numbers differ and no mistake was found, GC606 comes first; otherwise the first diagnosis mentions XLA.
    """
    by_xla = _compiled_by_xla(observed)
    if not by_xla or not found or any(diagnosis.code == "GC606" for diagnosis in found):
        return found
    said = _drawn_by_xla(observed)
    if said and all(diagnosis.code == "GC900" for diagnosis in found):
        return [
            named("GC606", f"{said}, so that the gradients cannot agree", confidence="likely", fix=_fix(observed)),
            *found,
        ]
    first, *others = found
    return [replace(first, evidence=f"{first.evidence}; the candidate was compiled by XLA ({some(by_xla)})"), *others]


def _drawn_by_xla(observed: Observed) -> str:
    """Return that the candidate drew other random numbers than the reference, and why; "" if it did not."""
    by_xla, problem = _compiled_by_xla(observed), observed.problem
    if not by_xla or problem.execution == "xla" or not problem.draws:
        return ""
    return (
        f"{some(by_xla)} of the candidate was compiled by XLA, which draws other random numbers than the "
        f"{problem.execution} reference"
    )


def _fix(observed: Observed) -> str:
    is_xla = observed.problem.config.execution == "xla"  # where only a candidate like the whole model agrees
    return _FIX.format("C" if is_xla else "Compare with `execution: xla`. Or c")


def _compiled_by_xla(observed: Observed) -> Sequence[str]:
    calls = observed.gradients.calls
    return () if calls is None else calls.by_xla

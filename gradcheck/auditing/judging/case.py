"""One wrong variable, and everything that may explain it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.auditing.judging.cotangents import near

if TYPE_CHECKING:
    from gradcheck.auditing.judging.judgement import Array, Judgement
    from gradcheck.auditing.observing.script_step import GradientCall
    from gradcheck.auditing.trial import Trial
    from gradcheck.results.report import Diagnosis
    from gradcheck.user_calls.lines import ScriptLine

#: Diagnoses, each with its line in the script.
Found = list[tuple["Diagnosis", "ScriptLine"]]


@dataclass(frozen=True, eq=False)
class Case:
    """One wrong variable, and everything that may explain it."""

    j: Judgement
    trial: Trial

    @property
    def path(self) -> str:
        """The path of the variable."""
        return self.j.question.trained.path

    @property
    def seeded(self) -> list[GradientCall]:
        """The gradient calls at boundaries."""
        return [call for call in self.j.question.calls if call.seeds is not None or call.unseeded]

    def is_(self, other: Array | None) -> bool:
        """Whether the candidate is this, up to rounding."""
        return near(self.j.candidate, other)

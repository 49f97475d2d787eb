"""GC307 and GC308: training that is resumed without all that it had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.state import is_seed
from gradcheck.config.sections.methods import ResumeOptions
from gradcheck.faults.interface import TrainingFault

if TYPE_CHECKING:
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.steps import Compute, Trainee, Update


class _Lost(TrainingFault):
    """The base of these faults: some variables have their first values again when training is resumed."""

    way = "resume"

    def lost(self, trainee: Trainee) -> list[Any]:
        """Return the variables whose values are lost."""
        raise NotImplementedError

    def applies(self, trainee: Trainee, steps: int) -> bool:
        """Whether training is resumed within these steps, and has such variables."""
        return saved_after(trainee.problem) < steps and bool(self.lost(trainee))

    def update(self, trainee: Trainee, compute: Compute) -> Update:
        """Return a step before the first of which after saving the values are put back to the start."""
        first = [(variable, tf.identity(variable.value)) for variable in self.lost(trainee)]
        apply, after, taken = trainee.applying(compute), saved_after(trainee.problem), 0

        def update(problem: Problem, optimizer: Any) -> Gradients:
            nonlocal taken
            if taken == after:
                for variable, value in first:
                    variable.assign(value)
            taken += 1
            return apply(problem, optimizer)

        return update


def saved_after(problem: Problem) -> int:
    """Return the number of steps after which the config's `resume` saves."""
    given = (m.options for m in problem.config.methods if isinstance(m.options, ResumeOptions))
    return next(given, ResumeOptions()).saved_after(problem.config.train.steps)


@dataclass(frozen=True)
class SeedsLost(_Lost):
    """GC307: the states of random seeds are not saved, and masks are drawn again from the first one on."""

    code = "GC307"
    effect = "the states of random seeds started anew when training was resumed"
    nowhere = "nothing is random"

    def lost(self, trainee: Trainee) -> list[Any]:
        """Return the seeds' states."""
        if not trainee.problem.draws:
            return []
        return [state.variable for state in trainee.problem.state.variables if is_seed(state.variable)]


@dataclass(frozen=True)
class SlotsLost(_Lost):
    """GC308: the optimizer starts anew; with `averages` only the moving averages of the weights do."""

    code = "GC308"
    nowhere = "the optimizer keeps nothing"
    averages: bool = False

    @property
    def effect(self) -> str:  # type: ignore[override]
        """The mistake, as a clause of a message."""
        what = "the moving averages of the weights" if self.averages else "the optimizer's slots and counters"
        return f"{what} started anew when training was resumed"

    def lost(self, trainee: Trainee) -> list[Any]:
        """Return the optimizer's variables."""
        return [v for v in trainee.optimizer.variables if not self.averages or "average" in v.path.rsplit("_", 1)[-1]]

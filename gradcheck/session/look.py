"""The interface of further checks on the problem that a run has built. Imports no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from gradcheck.custom_gradients import Watch
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport


class Found(NamedTuple):
    """The additions of a look to a run's report. The run is vacuous if `trainable`, a number of tensors, is 0."""

    trainable: int
    checks: tuple[CheckReport, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Look(Protocol):
    """A further check of a run's problem, called after its methods, so that the model is built only once."""

    def __call__(self, problem: Problem, watch: Watch) -> Found:
        """Check `problem` inside its session. `watch` has recorded the custom gradients that its code defines."""
        ...

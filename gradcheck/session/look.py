"""A closer look at the problem that a run has built. Imports no TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from gradcheck.custom_gradients import Watch
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport


class Found(NamedTuple):
    """What a look at a run's problem adds to its report; `trainable` counts the tensors that a pass must prove."""

    trainable: int
    checks: tuple[CheckReport, ...] = ()
    warnings: tuple[str, ...] = ()


class Look(Protocol):
    """A closer look at the problem of a run, after its methods, so that its model is built once."""

    def __call__(self, problem: Problem, watch: Watch) -> Found:
        """Looks at `problem`, inside its session; `watch` saw its code make custom gradients."""
        ...

"""`jax`: the gradients of `jax.value_and_grad`, under Keras's JAX backend in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.methods.by_engine.asked_model import by_engine

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import EngineOptions
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem


def jax(problem: Problem, options: EngineOptions) -> Gradients:
    """Return the gradients of the whole model under JAX.

    Raises:
        CannotAsk: if the model or its loss cannot run there.
        RunError: GC057 if it takes too long, GC060 if its process ends.
        ConfigError: if JAX is not installed.
    """
    return by_engine("jax", problem, options)

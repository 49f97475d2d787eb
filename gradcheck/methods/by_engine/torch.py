"""`torch`: the gradients of `torch.autograd`, under Keras's PyTorch backend in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.methods.by_engine.asked_model import by_engine

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import EngineOptions
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem


def torch(problem: Problem, options: EngineOptions) -> Gradients:
    """Return the gradients of the whole model under PyTorch.

    Raises:
        CannotAsk: if the model or its loss cannot run there.
        RunError: GC057 if it takes too long, GC060 if its process ends.
        ConfigError: if PyTorch is not installed.
    """
    return by_engine("torch", problem, options)

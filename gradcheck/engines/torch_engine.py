"""PyTorch: gradients by `torch.autograd`, operation by operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def set_up(precision: str) -> None:
    """Do nothing: PyTorch has every precision."""


def derivative(loss: Callable[..., tuple[Any, dict[str, Any]]]) -> Callable[..., tuple[dict[str, Any], list[Any]]]:
    """Return a function of (differentiated, rest) to what `loss` gives beside itself, and its gradients."""

    def run(given: Sequence[Any], rest: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        before = torch.get_rng_state()
        leaves = [tensor.detach().requires_grad_() for tensor in given]
        target, more = loss(leaves, rest)
        more["drew"] = not torch.equal(before, torch.get_rng_state())  # Keras's Dropout asks no seed of its own here
        if not leaves or not target.requires_grad:
            return more, [None] * len(leaves)
        return more, list(torch.autograd.grad(target, leaves, allow_unused=True))

    return run

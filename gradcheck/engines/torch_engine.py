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


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as it is."""
    return function


def pulled_back(function: Callable[..., Sequence[Any]], at: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
    """Return the gradients of `function` at `at` for `cotangents` of its outputs; None where nothing depends on it."""
    leaves = [tensor if tensor.requires_grad else tensor.detach().requires_grad_() for tensor in at]
    outputs = function(*(leaf.clone() for leaf in leaves))  # it may change its arguments in place
    reached = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
    if not reached:
        return [None] * len(leaves)
    ends, upstream = zip(*reached, strict=True)
    found: Sequence[Any] = torch.autograd.grad(ends, leaves, upstream, create_graph=True, allow_unused=True)
    return found

"""JAX: gradients by `jax.value_and_grad`, compiled where the model's code can be traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def set_up(precision: str) -> None:
    """Allow float64 where the config asks for it: otherwise JAX computes in float32 whatever the arrays are."""
    jax.config.update("jax_enable_x64", precision == "float64")


def derivative(loss: Callable[..., tuple[Any, dict[str, Any]]]) -> Callable[..., tuple[dict[str, Any], list[Any]]]:
    """Return a function of (differentiated, rest) to what `loss` gives beside itself, and its gradients."""
    differentiated = jax.value_and_grad(loss, has_aux=True)
    compiled = jax.jit(differentiated)

    def run(given: Sequence[Any], rest: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        try:
            (_, more), gradients = compiled(list(given), rest)
        except Exception:  # noqa: BLE001 - code that needs values fails in many ways; what fails here as well is raised
            (_, more), gradients = differentiated(list(given), rest)
        return more, gradients

    return run

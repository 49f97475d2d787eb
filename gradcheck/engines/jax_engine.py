"""JAX: gradients by `jax.value_and_grad`, compiled where the model's code can be traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def set_up(precision: str) -> None:
    """Allow float64 where the config asks for it: otherwise JAX computes in float32 whatever the arrays are."""
    jax.config.update("jax_enable_x64", precision == "float64")


def derivative(loss: Callable[..., tuple[Any, dict[str, Any]]]) -> Callable[..., tuple[dict[str, Any], list[Any]]]:
    """Return a function of (differentiated, rest) to what `loss` gives beside itself, and its gradients."""
    differentiated = compiled(jax.value_and_grad(loss, has_aux=True))

    def run(given: Sequence[Any], rest: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
        (_, more), gradients = differentiated(list(given), rest)
        return more, gradients

    return run


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, compiled where its code can be traced."""
    traced = jax.jit(function)

    def run(*given: Any) -> Any:
        nonlocal traced
        try:
            return traced(*given)
        except Exception:  # noqa: BLE001 - code that needs values fails in many ways; what fails twice is raised
            found = function(*given)
            traced = function  # it would fail again at every call
            return found

    return run


def pulled_back(function: Callable[..., Sequence[Any]], at: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
    """Return the gradients of `function` at `at` for `cotangents` of its outputs.

    Of complex tensors they are the conjugates of JAX's, as TensorFlow and PyTorch define them.
    """
    _, pull = jax.vjp(lambda *tensors: list(function(*tensors)), *at)
    return [jnp.conj(gradient) for gradient in pull([jnp.conj(cotangent) for cotangent in cotangents])]

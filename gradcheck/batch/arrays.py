"""One array from its description: random numbers, a constant, or a saved array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.batch import npz
from gradcheck.config.keyed import KeyedError, arguments_received

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from gradcheck.config.sections.data import ArraySpec


def make_array(
    spec: ArraySpec, shape: tuple[int, ...], *, rng: np.random.Generator, base: Path, names: Sequence[str], high: int
) -> NDArray[Any]:
    """Make the array that `spec` describes, in float64 or int64.

    Args:
        spec: its kind and options.
        shape: with the batch axis; a saved array keeps its own.
        rng: the random generator.
        base: the folder that files are relative to.
        names: the names of the array in a file, most specific first, if the spec has no key.
        high: the end (exclusive) of integers that the spec does not bound.

    Raises:
        KeyedError: GC030 if the options make no array of this shape; GC001 or GC030 for a file.
    """
    if spec.kind == "npz":
        return npz.one_array(str(spec.options.get("file")), spec.options.get("key"), names, base)
    options = {"high": high, **{key: value for key, value in spec.options.items() if value is not None}}
    try:
        return _MAKERS[spec.kind](rng, shape, options)
    except (TypeError, ValueError) as error:
        message = f"{spec.kind} cannot be made for {names[0]}: {error}. Received: {arguments_received(spec.options)}"
        raise KeyedError(message, code="GC030") from error


def normal(rng: np.random.Generator, shape: tuple[int, ...], options: dict[str, Any]) -> NDArray[Any]:
    """Return normal numbers with `mean` (0) and `stddev` (1)."""
    return rng.normal(options.get("mean", 0.0), options.get("stddev", 1.0), shape)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], options: dict[str, Any]) -> NDArray[Any]:
    """Return uniform numbers from `minval` (0) to `maxval` (1)."""
    low, high = options.get("minval", 0.0), options.get("maxval", 1.0)
    if low > high:
        raise ValueError("minval is above maxval")
    return rng.uniform(low, high, shape)


def integers(rng: np.random.Generator, shape: tuple[int, ...], options: dict[str, Any]) -> NDArray[Any]:
    """Return integers from `low` (0) to `high` (exclusive)."""
    return rng.integers(options.get("low", 0), options["high"], size=shape)


def constant(rng: np.random.Generator, shape: tuple[int, ...], options: dict[str, Any]) -> NDArray[Any]:  # noqa: ARG001 - a maker
    """Return `value` (0) everywhere; a list is broadcast."""
    return np.broadcast_to(np.asarray(options.get("value", 0.0)), shape).copy()


_MAKERS: dict[str, Callable[[np.random.Generator, tuple[int, ...], dict[str, Any]], NDArray[Any]]] = {
    "normal": normal,
    "uniform": uniform,
    "integers": integers,
    "constant": constant,
}

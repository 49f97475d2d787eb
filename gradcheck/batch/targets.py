"""Targets that fit a loss: class ids, one-hot, 0/1, probabilities, or numbers in the output's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.batch.loss import canonical_name
from gradcheck.config.keyed import KeyedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from gradcheck.config.sections.loss import LossSpec

#: Losses whose targets are class ids, without the class axis of the output.
IDS = frozenset({"sparsecategoricalcrossentropy", "circle"})
ONE_HOT = frozenset(
    {
        "categoricalcrossentropy",
        "categoricalfocalcrossentropy",
        "categoricalgeneralizedcrossentropy",
        "categoricalhinge",
    }
)
BINARY = frozenset({"binarycrossentropy", "binaryfocalcrossentropy", "hinge", "squaredhinge", "dice", "tversky"})


def default_target(spec: LossSpec, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    """Return random targets that suit the loss of `spec`.

    Args:
        spec: the loss of one output.
        shape: of the output, with the batch axis.
        rng: the random generator.

    Returns:
        int64 class ids for a loss that takes them, else float64.
    """
    name = canonical_name(spec)
    if name in IDS | ONE_HOT:
        ids = rng.integers(0, shape[_class_axis(spec)], _without(shape, _class_axis(spec)))
        return ids if name in IDS else _one_hot(ids, shape[_class_axis(spec)], _class_axis(spec))
    if name in BINARY:
        return rng.integers(0, 2, shape).astype(np.float64)
    return _OTHERS.get(name, _normal)(rng, shape)


def target_shape(spec: LossSpec, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the loss's targets for an output of `shape`."""
    name = canonical_name(spec)
    if name in IDS:
        return _without(shape, _class_axis(spec))
    return _label_shape(shape) if name == "ctc" else shape


def class_count(spec: LossSpec, shape: tuple[int, ...]) -> int:
    """Return the number of classes of integer targets for an output of `shape`: 2 unless the loss takes ids."""
    return shape[_class_axis(spec)] if canonical_name(spec) in IDS | {"ctc"} else 2


def takes_integers(spec: LossSpec) -> bool:
    """Whether integer targets stay integers: if the loss takes ids, or is the user's own."""
    return canonical_name(spec) in IDS | {"ctc", ""}


def from_classes(
    spec: LossSpec, labels: NDArray[Any], classes: int, shape: tuple[int | None, ...]
) -> NDArray[Any] | None:
    """Convert `labels`, class ids of shape (batch,), for the loss; None for a loss without classes.

    Raises:
        KeyedError: GC030 if the output has fewer classes than `classes`.
    """
    name = canonical_name(spec)
    if name in IDS | ONE_HOT:
        width = shape[-1] or 0
        _check_classes(classes, width)
        return labels if name in IDS else _one_hot(labels, width, -1)
    if name in BINARY:
        _check_classes(classes, 2)
        return labels.reshape([-1, *[1] * (len(shape) - 1)]).astype(np.float64)
    return None


def _check_classes(classes: int, width: int) -> None:
    if classes > width:
        raise KeyedError(f"the output has {width} classes. Received: {classes} folders", code="GC030")


def _class_axis(spec: LossSpec) -> int:
    axis = spec.kwargs.get("axis", -1)
    return axis if isinstance(axis, int) else -1


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    kept = list(shape)
    del kept[axis]
    return tuple(kept)


def _one_hot(ids: NDArray[Any], classes: int, axis: int) -> NDArray[Any]:
    one_hot: NDArray[Any] = np.moveaxis(np.eye(classes)[ids], -1, axis)
    return one_hot


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return rng.normal(size=shape)


def _probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return positive numbers that sum to 1 over the last axis."""
    weights = rng.uniform(0.1, 1.0, shape)
    normalised: NDArray[Any] = weights / weights.sum(axis=-1, keepdims=True)
    return normalised


def _non_negative(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return rng.uniform(0.0, 2.0, shape)


def _labels(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return label sequences for CTC on an output (batch, time, classes); class 0 is the blank."""
    return rng.integers(1, max(2, shape[-1]), _label_shape(shape))


def _label_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (batch, labels): repeated labels need a blank between them, so at most half the time steps."""
    return (shape[0], max(1, shape[1] // 2))


_OTHERS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], NDArray[Any]]] = {
    "kldivergence": _probabilities,
    "poisson": _non_negative,
    "meansquaredlogarithmicerror": _non_negative,
    "ctc": _labels,
}

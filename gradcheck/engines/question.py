"""What an engine is asked, and what it answers. Arrays are NumPy's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class SentTerm:
    """The loss on one output, or on all.

    Attributes:
        loss: a Keras loss, or the user's function of (y, output); None is the random cotangent.
        weight: its factor in the sum.
    """

    loss: Any
    weight: float


@dataclass(frozen=True, kw_only=True)
class SentLoss:
    """The data loss: see `batch.loss.Loss`."""

    terms: Sequence[SentTerm | None]
    dtype: str
    joint: SentTerm | None = None


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The model and its loss, without their values.

    Attributes:
        config: the model as Keras saves it.
        custom: the user's classes and functions in it, by name.
        trainable: the flag of each layer.
        precision: the config's.
        training: the flag that every layer is called with.
        calls: the names of the operations that the model runs, in order.
        boundaries: the call, and the output of it, of each tensor whose cotangent is asked for.
        loss: the data loss.
    """

    config: Any
    custom: Mapping[str, Any]
    trainable: Sequence[bool]
    precision: str
    training: bool
    calls: Sequence[str]
    boundaries: Sequence[tuple[int, int]]
    loss: SentLoss


@dataclass(frozen=True, eq=False, kw_only=True)
class Numbers:
    """The values that the model is differentiated at, and one batch, or a slice of one.

    Attributes:
        variables: of the model's variables, in its order.
        weights: the indices of those that are trained.
        states: of the variables that a forward pass changes, in the order of `state_variables`.
        x: the inputs in order.
        y: the targets in the order of the outputs.
        sample_weight: likewise; None if there are none.
        zeros: for each boundary zeros of its shape and dtype.
        scales: the factor of each term for a slice; None for the whole batch.
        share: the factor of the losses that layers add.
        loss_scale: what the loss is multiplied by before it is differentiated.
    """

    variables: Sequence[Any]
    weights: Sequence[int]
    states: Sequence[Any]
    x: Sequence[Any]
    y: Sequence[Any]
    sample_weight: Sequence[Any] | None
    zeros: Sequence[Any]
    scales: Sequence[float | None] | None
    share: float
    loss_scale: float


def in_double(numbers: Numbers) -> Numbers:
    """Return the same values in float64."""

    def of(arrays: Sequence[Any]) -> list[Any]:
        return [a.astype("float64") if a is not None and "float" in str(a.dtype) else a for a in arrays]

    weight = numbers.sample_weight
    return replace(
        numbers,
        variables=of(numbers.variables),
        states=of(numbers.states),
        x=of(numbers.x),
        y=of(numbers.y),
        sample_weight=None if weight is None else of(weight),
        zeros=of(numbers.zeros),
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionCall:
    """A call of a function of the user's, or of a VJP of it.

    Attributes:
        target: what messages call it.
        reference: `package.module:name` or `./file.py:name`.
        base: the folder that a file is relative to.
        run: the same number for all calls for which its module is imported once.
        kwargs: its keyword arguments, pickled.
        counts: one number for each level of derivatives, that of the arguments of the level below. The arguments that
            follow these are the cotangents of its floating outputs.
        arrays: the arguments of the last level.
    """

    target: str
    reference: str
    base: Path
    run: str
    kwargs: bytes
    counts: tuple[int, ...]
    arrays: Sequence[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """The result: gradients are None where the engine knows that there is none, and for inputs that are no floats.

    Attributes:
        loss: the loss, unscaled.
        outputs: the model's outputs.
        weights: the gradients of the weights, of the scaled loss as all others.
        assigned: for each weight, whether the forward pass assigned it: its gradient is then another thing here, where
            the model is a function of its values, than on a tape.
        inputs: those of the inputs.
        boundaries: those of the boundaries; None if the model ran other calls than were expected.
        states: the state afterwards.
        drew: whether the engine's own generator has moved, which no state shows.
    """

    loss: Any
    outputs: Sequence[Any]
    weights: Sequence[Any]
    assigned: Sequence[bool]
    inputs: Sequence[Any]
    boundaries: Sequence[Any] | None
    states: Sequence[Any]
    drew: bool

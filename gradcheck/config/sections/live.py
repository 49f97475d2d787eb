"""Sections of a config that hold Python objects in place of what YAML names. `gradcheck.live` makes them, no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.config.schema import OptimizerSpec
from gradcheck.config.sections.base import Written
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import LossSpec
from gradcheck.config.sections.methods import CandidateOptions, FitOptions

if TYPE_CHECKING:
    from collections.abc import Callable


class LiveLoss(LossSpec):
    """A `keras.losses.Loss`; `name` is that of its class if it is one of Keras's."""

    made: Any

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields as they are: there is no shorthand."""
        return Written(raw)


class LiveOptimizer(OptimizerSpec):
    """An optimizer as it was handed over: `made` is a `problem.optimizer.HandedOver`.

    `as_compiled` says that it is the one that the model was compiled with: `fit` then takes the object itself.
    """

    made: Any
    as_compiled: bool = False

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields as they are: there is no shorthand."""
        return Written(raw)


class LiveData(DataConfig):
    """One batch: x, y and sample weight, each an array, tensors in a structure, or None for the default."""

    live: tuple[Any, Any, Any]


class LiveFit(FitOptions):
    """`fit` with callbacks as objects."""

    made: Any = ()


class LiveStep(CandidateOptions):
    """A candidate that is called on the live objects.

    `call` takes no arguments. `optimizer` is the object that a `train_step` updates the weights with.
    """

    call: Any
    optimizer: Any = None

    @property
    def function(self) -> Callable[..., Any]:
        """The candidate as a function of the candidate's input, which it ignores."""
        return lambda _: self.call()

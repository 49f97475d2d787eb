"""The interface of a method, which computes the gradients of a problem, and its results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.schedule import ScheduleReport
    from gradcheck.user_calls.noting import UserCalls


class Tensors(NamedTuple):
    """One batch as flat lists, in the order of the model's inputs and outputs.

    `loss_scale`, a scalar, is what the loss is multiplied by before it is differentiated, so that small gradients are
    not lost in 16 bits; None for 1. The gradients of weights and inputs come back divided by it, those of boundaries
    as they cross.
    """

    x: Sequence[Any]
    y: Sequence[Any]
    sample_weight: Sequence[Any] | None
    loss_scale: Any = None


class PartKey(NamedTuple):
    """The part that one segment adds to the gradient of the weight at `path`."""

    path: str
    segment: int


class Computed(NamedTuple):
    """The result of a method's body; a tuple, so that a compiled function can return it too.

    `gradients` maps TensorKey to a tensor of the shape and dtype of what it belongs to, None where no gradient flows.
    `loss` is None where the method does not compute one. `part_norms` are the 2-norms of the parts of which a weight's
    gradient is the sum, from a method that measures them.
    """

    loss: Any
    outputs: list[Any]
    gradients: dict[TensorKey, Any]
    part_norms: dict[PartKey, Any] = {}  # noqa: RUF012 - a tuple's default, never changed


class Wrong(NamedTuple):
    """A mistake in one tensor: the code of the catalogue, and the figures in words."""

    code: str
    says: str


@dataclass(frozen=True, kw_only=True)
class Gradients:
    """The result of a method: `Computed`, the state afterwards by path, and the time that it took in seconds.

    Attributes:
        against: what a tensor is compared with where that is not the reference's gradient itself, such as its
            projections on a few directions, or the gradient of a twin in another precision.
        error_bars: how far off a tensor's elements may be by the method's own estimate, in the tensor's shape.
        places: where a tensor belongs that only this method has; it is in `against` too.
        warnings: what should be mended; remarks: what is worth knowing of the method as a whole, and nothing to mend.
        notes: what a reader should know of a tensor.
        wrong: the tensors that the method itself knows to be wrong, and how.
        noise: measures how far these tensors, and what they are compared with, move by rounding alone: their noise
            floors, where `against` makes the reference's own say nothing, or where that is too low for a method that
            adds up more roundings. None: nothing but the reference's own noise floor excuses anything.
        tolerance_dtype: the dtype whose default tolerance applies, where that is not the problem's compute dtype.
        schedule: in what order micro-batches went through the segments.
        part_norms: as in `Computed`.
        way: how the method differentiates, where that is another way than the tape's: `by forward mode`.
        zero_is_none: whether the method cannot tell a gradient of zero from none.
        calls: what the user's function did while it computed them; None for gradients of no user's function.
    """

    loss: Any
    outputs: Sequence[Any]
    tensors: Mapping[TensorKey, Any]
    state: Mapping[str, Any]
    seconds: float
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    against: Mapping[TensorKey, Any] = field(default_factory=dict)
    error_bars: Mapping[TensorKey, Any] = field(default_factory=dict)
    places: Mapping[TensorKey, Any] = field(default_factory=dict)
    notes: Mapping[TensorKey, str] = field(default_factory=dict)
    wrong: Mapping[TensorKey, Wrong] = field(default_factory=dict)
    noise: Callable[[Collection[TensorKey]], Mapping[TensorKey, float]] | None = None
    tolerance_dtype: str | None = None
    schedule: ScheduleReport | None = None
    part_norms: Mapping[PartKey, Any] = field(default_factory=dict)
    way: str = ""
    zero_is_none: bool = False
    calls: UserCalls | None = None


class Method(Protocol):
    """Computes the gradients of a problem in one way. Weights and state are those of the snapshot before and after."""

    def __call__(self, problem: Problem, options: MethodOptions) -> Gradients:
        """Return the gradients of `problem`."""
        ...

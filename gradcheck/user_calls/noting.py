"""A light record of a function that runs: what it asks of tapes, and what it lets XLA compile.

No tensor is kept, only its number and shape: however many gradients a function asks for, it needs no more memory. The
audit of a script (`gradcheck.auditing`) sees far more, and keeps it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.user_calls.lines import user_line
from gradcheck.user_calls.patches import Patches
from gradcheck.user_calls.tape_calls import KINDS, TapeCall, flat_results, identity, seeds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.user_calls.tape_calls import Kind

#: More calls than this, such as one for each element, add nothing but time.
MOST_CALLS = 1000
#: The class of what `tf.function` returns; TensorFlow exports only its interface.
_COMPILED = type(tf.function(lambda: None))


class Noted(NamedTuple):
    """A tensor or a variable: its number, which no other ever has, its shape, and the variable itself if it is one."""

    number: int
    shape: tuple[int | None, ...]
    variable: Any = None


@dataclass(eq=False, kw_only=True)
class UserCalls:
    """What a function did while it ran.

    Attributes:
        gradients: its calls of tapes, with a `Noted` or None for each tensor. Explicit `output_gradients=None` are as
            many None as there are targets.
        by_xla: the functions that XLA compiled, each with the line of its first call.
        paths: by number, the paths of the weights that the function was given; "" for another variable of the model.
    """

    paths: Mapping[int, str] = field(default_factory=dict)
    gradients: list[TapeCall] = field(default_factory=list)
    by_xla: list[str] = field(default_factory=list)

    @property
    def sources(self) -> list[Any]:
        """The variables that gradients were asked of."""
        return [one.variable for call in self.gradients for one in call.sources if one and one.variable is not None]


@contextmanager
def noting(paths: Mapping[int, str]) -> Iterator[UserCalls]:
    """Note what happens inside the block, in any thread; results and errors are as they would be.

    Args:
        paths: see `UserCalls`.
    """
    calls, patches = UserCalls(paths=paths), Patches()
    observer = _Observer(calls)
    for kind in KINDS:
        patches.wrap(tf.GradientTape, kind, observer.asking(kind))
    patches.wrap(_COMPILED, "__call__", observer.calling)
    try:
        yield calls
    finally:
        patches.undo()


class _Observer(threading.local):
    """Adds to `calls` from any thread; `asking` is whether this thread is inside a call of a tape."""

    def __init__(self, calls: UserCalls) -> None:
        self._calls, self._inside = calls, False

    def asking(self, kind: Kind) -> Callable[..., Any]:
        """Return what is called around a method of a tape."""

        def ask(original: Callable[..., Any], tape: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
            # A backward pass may ask tapes of its own, as `tf.recompute_grad` and the Jacobians do.
            if self._inside or len(self._calls.gradients) >= MOST_CALLS:
                return original(tape, target, sources, *args, **kwargs)
            self._inside = True
            try:
                results = original(tape, target, sources, *args, **kwargs)
            finally:
                self._inside = False
            seeds, flat = _seeds(kind, target, args, kwargs), tf.nest.flatten(sources)
            call = TapeCall(
                line=user_line(),
                kind=kind,
                targets=_noted(tf.nest.flatten(target)),
                seeds=None if seeds is None else _noted(seeds),
                sources=_noted(flat),
                results=_noted(flat_results(results, len(flat))),
            )
            self._calls.gradients.append(call)
            return results

        return ask

    def calling(self, original: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        """Note a function that XLA compiles."""
        # The attribute has no public name.
        if function._jit_compile and not tf.config.functions_run_eagerly():  # noqa: SLF001
            place = f"{function.python_function.__name__} ({user_line()})"
            if place not in self._calls.by_xla:
                self._calls.by_xla.append(place)
        return original(function, *args, **kwargs)


def _seeds(kind: Kind, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Any] | None:
    """Return the seeds as given, flat: None for each target if they are an explicit None."""
    seeds = seeds_of(kind, args, kwargs)
    given = kind == "gradient" and (args or "output_gradients" in kwargs)
    if seeds is None:
        return [None] * len(tf.nest.flatten(target)) if given else None
    return list(tf.nest.flatten(seeds))


def _noted(tensors: Sequence[Any]) -> list[Noted | None]:
    return [None if tensor is None else note(tensor) for tensor in tensors]


def note(tensor: Any) -> Noted:
    """Return the record of a tensor, of sparse rows or of a variable; 0 is the number of anything else."""
    one = tensor.values if isinstance(tensor, tf.IndexedSlices) else tensor
    is_variable = hasattr(one, "handle")
    known = is_variable or isinstance(one, tf.Tensor)
    shape = tuple(one.shape) if known and tf.TensorShape(one.shape).rank is not None else ()
    return Noted(identity(one) if known else 0, shape, one if is_variable else None)

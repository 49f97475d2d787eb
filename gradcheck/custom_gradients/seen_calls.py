"""Seeing the calls of functions that `tf.custom_gradient` decorates.

While it is watched, `tf.custom_gradient` decorates a function that calls the user's own and notes what went in and out.
So functions decorated while the user's code is loaded can be recorded at any later time; TensorFlow's part of the work
is not touched.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class DecoratedCall:
    """One eager call of a decorated function.

    Attributes:
        function: the user's function, undecorated.
        args: what it was called with by position, `self` of a method among them.
        kwargs: what it was called with by keyword.
        result: what it returned beside `grad`.
        grad: its backward function.
        variables: those that it read and was not given: TensorFlow hands them to `grad` as `variables`.
    """

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any
    grad: Callable[..., Any]
    variables: Sequence[Any]

    @property
    def place(self) -> str:
        """What messages call the function."""
        return place_of(self.function)

    def argument_names(self, count: int) -> list[str]:
        """Names for the last `count` positional arguments, as the function declares them."""
        try:
            declared = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):  # a callable without a signature
            declared = []
        names = [declared[i] if i < len(declared) else f"argument {i}" for i in range(len(self.args))]
        return names[-count:] if len(names) >= count else [f"argument {i}" for i in range(count)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Recomputation:
    """One eager call of a function that `tf.recompute_grad` runs again in the backward pass.

    Attributes:
        function: the user's function.
        layer: the name of the layer that called it; None outside of any.
        results: what it returns at first, and run again with the same arguments.
    """

    function: Callable[..., Any]
    layer: str | None
    results: tuple[Any, Any]

    @property
    def repeats(self) -> bool:
        """Whether both results are the same."""
        first, again = (tf.nest.flatten(result) for result in self.results)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))


def place_of(function: Callable[..., Any]) -> str:
    """`name (file.py:12)`: what messages call a function of the user's."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    name = getattr(function, "__qualname__", repr(function)).replace("<locals>.", "")
    return name if code is None else f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"


class Watch:
    """What links the decorated functions to whoever wants to record their calls.

    Attributes:
        used: whether any of them was called, or a function that is recomputed.
        recomputed: the functions that were recomputed while calls were last recorded.
    """

    def __init__(self) -> None:
        self.used = False
        self.recomputed: list[Recomputation] = []
        self._calls: list[DecoratedCall] | None = None
        self._again = False  # whether what is recomputed is run a second time, to be compared

    @contextmanager
    def recording(self) -> Iterator[list[DecoratedCall]]:
        """Collects the calls made inside; `tf.function`s run eagerly meanwhile, so that there are values to look at."""
        eager = tf.config.functions_run_eagerly()
        calls: list[DecoratedCall] = []
        self._calls, self.recomputed, self._again = calls, [], True
        tf.config.run_functions_eagerly(True)  # noqa: FBT003 - TensorFlow's signature
        try:
            yield calls
        finally:
            tf.config.run_functions_eagerly(eager)
            self._calls, self._again = None, False

    @contextmanager
    def listening(self) -> Iterator[list[DecoratedCall]]:
        """Collects the calls made inside, but for those in compiled functions, which stay compiled."""
        calls: list[DecoratedCall] = []
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = None

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its calls noted while recording."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.used = True
            if self._calls is None or not tf.executing_eagerly():
                return function(*args, **kwargs)
            with tf.GradientTape() as tape:
                returned = function(*args, **kwargs)
            if isinstance(returned, tuple) and len(returned) == 2:  # noqa: PLR2004 - else TensorFlow refuses it
                given = {id(arg) for arg in tf.nest.flatten((args, kwargs))}
                variables = [v for v in tape.watched_variables() if id(v) not in given]
                result, grad = returned
                self._calls.append(
                    DecoratedCall(
                        function=function, args=args, kwargs=kwargs, result=result, grad=grad, variables=variables
                    )
                )
            return returned

        return call

    def twice(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, which `tf.recompute_grad` will run twice; while recording its two results are noted."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.used = True
            result = function(*args, **kwargs)
            if self._again and tf.executing_eagerly():
                again = function(*args, **kwargs)
                self.recomputed.append(
                    Recomputation(function=function, layer=_calling_layer(), results=(result, again))
                )
            return result

        return call


@contextmanager
def watching() -> Iterator[Watch]:
    """Replaces `tf.custom_gradient` and `tf.recompute_grad`: their functions can be recorded, also after this."""
    watch, original, recompute_grad = Watch(), tf.custom_gradient, tf.recompute_grad
    outer = getattr(original, "watch", None)
    if outer is not None:  # what was decorated while it watched is known to that one alone
        yield outer
        return

    def custom_gradient(f: Callable[..., Any] | None = None) -> Any:
        return custom_gradient if f is None else original(watch.recorded(f))

    custom_gradient.watch = watch  # type: ignore[attr-defined]  # found by a block within this one
    tf.custom_gradient = custom_gradient
    tf.recompute_grad = lambda f: recompute_grad(watch.twice(f))
    try:
        yield watch
    finally:
        tf.custom_gradient, tf.recompute_grad = original, recompute_grad


def _calling_layer() -> str | None:
    """The name of the innermost Keras layer whose `call` is running."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.Layer) and frame.f_code.co_name == "call":
            return str(owner.name)
        frame = frame.f_back
    return None

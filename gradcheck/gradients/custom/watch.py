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

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
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
        """`name (file.py:12)`: what messages call the function."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        name = getattr(self.function, "__qualname__", repr(self.function)).replace("<locals>.", "")
        return name if code is None else f"{name} ({Path(code.co_filename).name}:{code.co_firstlineno})"

    def argument_names(self, count: int) -> list[str]:
        """Names for the last `count` positional arguments, as the function declares them."""
        try:
            declared = list(inspect.signature(self.function).parameters)
        except (TypeError, ValueError):  # a callable without a signature
            declared = []
        names = [declared[i] if i < len(declared) else f"argument {i}" for i in range(len(self.args))]
        return names[-count:] if len(names) >= count else [f"argument {i}" for i in range(count)]


class Watch:
    """What links the decorated functions to whoever wants to record their calls."""

    def __init__(self) -> None:
        self._calls: list[Call] | None = None

    @contextmanager
    def recording(self) -> Iterator[list[Call]]:
        """Collects the calls made inside; `tf.function`s run eagerly meanwhile, so that there are values to look at."""
        eager = tf.config.functions_run_eagerly()
        calls: list[Call] = []
        self._calls = calls
        tf.config.run_functions_eagerly(True)  # noqa: FBT003 - TensorFlow's signature
        try:
            yield calls
        finally:
            tf.config.run_functions_eagerly(eager)
            self._calls = None

    @contextmanager
    def listening(self) -> Iterator[list[Call]]:
        """Collects the calls made inside, but for those in compiled functions, which stay compiled."""
        calls: list[Call] = []
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = None

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, its calls noted while recording."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._calls is None or not tf.executing_eagerly():
                return function(*args, **kwargs)
            with tf.GradientTape() as tape:
                returned = function(*args, **kwargs)
            if isinstance(returned, tuple) and len(returned) == 2:  # noqa: PLR2004 - else TensorFlow refuses it
                given = {id(arg) for arg in tf.nest.flatten((args, kwargs))}
                variables = [v for v in tape.watched_variables() if id(v) not in given]
                result, grad = returned
                self._calls.append(
                    Call(function=function, args=args, kwargs=kwargs, result=result, grad=grad, variables=variables)
                )
            return returned

        return call


@contextmanager
def watching() -> Iterator[Watch]:
    """Replaces `tf.custom_gradient` by one whose functions can be recorded, also after this has ended."""
    watch, original = Watch(), tf.custom_gradient

    def custom_gradient(f: Callable[..., Any] | None = None) -> Any:
        return custom_gradient if f is None else original(watch.recorded(f))

    tf.custom_gradient = custom_gradient
    try:
        yield watch
    finally:
        tf.custom_gradient = original

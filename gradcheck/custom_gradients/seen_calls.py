"""Recording the calls of functions under `tf.custom_gradient`.

Inside `watching()`, `tf.custom_gradient` decorates a wrapper that calls the user's function and can record arguments
and results. So functions that are decorated while the user's code is loaded can be recorded at any later time;
TensorFlow's own part of the work is unchanged.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.naming import place_of_function
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.execute import eagerly
from gradcheck.handoff.tensors import gradients_of, is_differentiable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class DecoratedCall:
    """One eager call of a decorated function.

    Attributes:
        function: the user's function, undecorated.
        args: its positional arguments, `self` of a method among them.
        kwargs: its keyword arguments.
        result: the result that it returned together with `grad`.
        grad: its backward function.
        variables: the variables that it read without being given them: TensorFlow passes them to `grad` as `variables`.
        layer: the name of the layer that called it; None if no layer did.
    """

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    result: Any
    grad: Callable[..., Any]
    variables: Sequence[Any]
    layer: str | None = None

    @property
    def place(self) -> str:
        """The name of the function in messages."""
        return place_of_function(self.function)

    def argument_names(self, count: int) -> list[str]:
        """Return names for the last `count` positional arguments, as the function declares them."""
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
        layer: the name of the layer that called it; None if no layer did.
        results: its result, and its result of a second run with the same arguments.
    """

    function: Callable[..., Any]
    layer: str | None
    results: tuple[Any, Any]

    @property
    def repeats(self) -> bool:
        """Whether both results are equal, element by element."""
        first, again = (tf.nest.flatten(result) for result in self.results)
        return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, again, strict=True))


class Watch:
    """The link between decorated functions and the code that records their calls.

    Attributes:
        used: whether a decorated function, or one that is recomputed, was ever called.
        recomputed: the recomputed functions of the latest recording.
        recomputations: how many calls of functions under `tf.recompute_grad` there were.
    """

    def __init__(self) -> None:
        self.used = False
        self.recomputations = 0
        self._recomputing = True
        self.recomputed: list[Recomputation] = []
        self._calls: list[DecoratedCall] | None = None
        self._again = False  # whether recomputed functions run a second time, for comparison
        self._left_out: frozenset[str] = frozenset()  # the places of functions that have TensorFlow's own gradient now

    @contextmanager
    def recording(self) -> Iterator[list[DecoratedCall]]:
        """Collect the calls made inside the block, where each `tf.function` runs eagerly: tensors have values."""
        calls: list[DecoratedCall] = []
        self._calls, self.recomputed, self._again = calls, [], True
        try:
            with eagerly():
                yield calls
        finally:
            self._calls, self._again = None, False

    @contextmanager
    def left_out(self, places: Collection[str]) -> Iterator[None]:
        """Differentiate the functions at `places` as TensorFlow does by itself inside the block, which runs eagerly."""
        self._left_out = frozenset(places)
        try:
            with eagerly():
                yield
        finally:
            self._left_out = frozenset()

    @contextmanager
    def listening(self) -> Iterator[list[DecoratedCall]]:
        """Collect the calls made inside the block, except those in compiled functions, which stay compiled."""
        calls: list[DecoratedCall] = []
        self._calls = calls
        try:
            yield calls
        finally:
            self._calls = None

    @contextmanager
    def without_recomputation(self) -> Iterator[None]:
        """Call functions under `tf.recompute_grad` as they are inside the block: nothing is run a second time."""
        before, self._recomputing = self._recomputing, False
        try:
            yield
        finally:
            self._recomputing = before

    def recomputing(self, function: Callable[..., Any], recomputed: Callable[..., Any]) -> Callable[..., Any]:
        """Return `recomputed`, which becomes `function` itself inside `without_recomputation`."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.recomputations += 1
            return (recomputed if self._recomputing else function)(*args, **kwargs)

        return call

    def recorded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper of `function` that records its calls during a recording."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.used = True
            if self._left_out and place_of_function(function) in self._left_out:
                return with_own_gradient(function, args, kwargs)
            if self._calls is None or not tf.executing_eagerly():
                return function(*args, **kwargs)
            # The tape lists the variables that the function reads, as TensorFlow's own watcher does.
            with tf.GradientTape() as tape:
                returned = function(*args, **kwargs)
            if isinstance(returned, tuple) and len(returned) == 2:  # noqa: PLR2004 - else TensorFlow refuses it
                # As in TensorFlow, a variable among the arguments has its gradient there, not in `variables`.
                given = {id(arg) for arg in tf.nest.flatten((args, kwargs))}
                variables = [v for v in tape.watched_variables() if id(v) not in given]
                result, grad = returned
                self._calls.append(
                    DecoratedCall(
                        function=function,
                        args=args,
                        kwargs=kwargs,
                        result=result,
                        grad=grad,
                        variables=variables,
                        layer=_calling_layer(),
                    )
                )
            return returned

        return call

    def twice(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a wrapper of a function that `tf.recompute_grad` runs twice, which records both results."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            self.used = True
            result = function(*args, **kwargs)
            if self._again and tf.executing_eagerly():
                # A recording runs no backward pass: this second run stands for the one there.
                again = function(*args, **kwargs)
                self.recomputed.append(
                    Recomputation(function=function, layer=_calling_layer(), results=(result, again))
                )
            return result

        return call


@contextmanager
def watching() -> Iterator[Watch]:
    """Replace `tf.custom_gradient` and `tf.recompute_grad` inside the block, to record their functions at any time."""
    watch, original, recompute_grad = Watch(), tf.custom_gradient, tf.recompute_grad
    outer = getattr(original, "watch", None)
    if outer is not None:  # functions decorated in an outer block are known to its `Watch` alone
        yield outer
        return

    def custom_gradient(f: Callable[..., Any] | None = None) -> Any:
        return custom_gradient if f is None else original(watch.recorded(f))

    custom_gradient.watch = watch  # type: ignore[attr-defined]  # found by a nested block
    tf.custom_gradient = custom_gradient
    tf.recompute_grad = lambda f: watch.recomputing(f, recompute_grad(watch.twice(f)))
    try:
        yield watch
    finally:
        tf.custom_gradient, tf.recompute_grad = original, recompute_grad


def watch_of_now() -> Watch:
    """Return the watch of the block that this is called in."""
    watch: Watch = getattr(tf.custom_gradient, "watch", None) or Watch()
    return watch


def with_own_gradient(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Any, Callable[..., Any]]:
    """Return the result of a function under `tf.custom_gradient`, and TensorFlow's own gradient in place of its own.

    The gradient of what has none, by TensorFlow, is None.
    """
    with tf.GradientTape(persistent=True) as tape:
        # Copies, for one tensor may be several arguments.
        copies = tf.nest.map_structure(lambda t: copied(t) if isinstance(t, tf.Tensor) else t, list(args))
        tape.watch([t for t in tf.nest.flatten(copies) if isinstance(t, tf.Tensor) and is_differentiable(t)])
        result, _ = function(*copies, **kwargs)
    # TensorFlow binds a method before it counts its arguments.
    is_method = bool(args) and not tf.is_tensor(args[0]) and hasattr(type(args[0]), function.__name__)
    given = tf.nest.flatten(copies[1:] if is_method else copies)

    def grad(*upstream: Any, variables: Sequence[Any] | None = None) -> Any:
        sources = [t for t in given if isinstance(t, (tf.Tensor, tf.Variable))]
        seeded = [(t, u) for t, u in zip(tf.nest.flatten(result), upstream, strict=True) if is_differentiable(t)]
        targets, seeds = zip(*seeded, strict=True)
        found = gradients_of(tape, targets, [*sources, *(variables or ())], seeds)
        of = dict(zip(map(id, sources), found, strict=False))
        of_given = [of.get(id(t)) for t in given]
        return of_given if variables is None else (of_given, found[len(sources) :])

    return result, grad


def _calling_layer() -> str | None:
    """Return the name of the innermost Keras layer whose `call` is running."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.Layer) and frame.f_code.co_name == "call":
            return str(owner.name)
        frame = frame.f_back
    return None

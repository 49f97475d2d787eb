"""TensorFlow's own sequence of random numbers, as of `tf.random.normal`: its start, and the place that was reached."""

from __future__ import annotations

import random
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager import context  # holds the seed of tf.random.set_seed, which has no public getter
from tensorflow.python.framework import random_seed  # counts the draws of a graph
from tensorflow.python.saved_model import function_deserialization  # brings operations that asked for no seed here

if TYPE_CHECKING:
    from collections.abc import Callable


class _Noted:
    """Whether operations with a generator of their own may have been made in this process."""

    generators = getattr(context.context(), "_context_handle", True) is not None  # something has run before


def _noting(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def noted(*args: Any, **kwargs: Any) -> Any:
        _Noted.generators = True
        return function(*args, **kwargs)

    return noted


# An operation that draws with a generator of its own asks for a seed when it is made, eagerly or in a graph, is given
# two seeds by hand, or comes in a graph that was saved. Keras's layers do none of this: their generators are variables.
random_seed.get_seed = _noting(random_seed.get_seed)
function_deserialization.load_function_def_library = _noting(function_deserialization.load_function_def_library)
tf.graph_util.import_graph_def = _noting(tf.graph_util.import_graph_def)
for _name, _operation in list(vars(tf.raw_ops).items()):
    if callable(_operation) and "seed2" in signature(_operation).parameters:
        setattr(tf.raw_ops, _name, _noting(_operation))


def has_generators() -> bool:
    """Whether an operation of this process may have a generator of its own: `restart` then drops every one of them."""
    return _Noted.generators or not hasattr(context.context(), "_rng")


def restart(seed: int) -> None:
    """Start the sequence anew, as `tf.random.set_seed` does.

    That also drops every prepared operation, which on a small model takes as long as a step: it is left out where none
    can have a generator of its own.
    """
    if has_generators():
        tf.random.set_seed(seed)
    else:
        eager = context.context()
        eager._seed, eager._rng = seed, random.Random(seed)  # noqa: SLF001, S311 - what set_seed does too


class Draws:
    """The place at the time of its creation: eagerly, or in the graph that is being made.

    The sequences of single operations that have a seed of their own, such as `tf.random.normal(..., seed=5)`, are not
    part of it: eagerly, putting the place back starts them anew, as `tf.random.set_seed` does.
    """

    def __init__(self) -> None:
        """Read the place."""
        self._graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        self._count = 0 if self._graph is None else random_seed._graph_to_seed_dict.get(self._graph, 0)  # noqa: SLF001
        self._seed, rng = context.global_seed(), getattr(context.context(), "_rng", None)
        self._drawn = None if rng is None else rng.getstate()

    def __eq__(self, other: object) -> bool:
        """Whether both are one place: eagerly, nothing was drawn in between."""
        return isinstance(other, Draws) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def put_back(self) -> None:
        """Draw the same numbers again from here on."""
        if self._graph is not None:
            random_seed._graph_to_seed_dict[self._graph] = self._count  # noqa: SLF001
            return
        tf.random.set_seed(self._seed)
        if self._drawn is not None:
            context.context()._rng.setstate(self._drawn)  # noqa: SLF001 - there is no public setter

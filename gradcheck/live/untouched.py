"""What a check may change while it runs, put back bit for bit when it ends, also by an error."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.draws import Draws
from gradcheck.building.precision import kept_precision
from gradcheck.keras_private import Variable, session_trackers, set_session_trackers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: The objects whose attributes are looked at, and what is reached through them.
_KEPT = (
    keras.Operation,
    keras.optimizers.Optimizer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.random.SeedGenerator,
    Variable,
)
#: The containers that are looked at, a kind before the one that it is a kind of.
_CONTAINERS: tuple[Any, ...] = (list, OrderedDict, dict, set, deque)
#: Where TensorFlow's wrapper around a list holds the items: the list itself, and as it was last seen.
_WRAPPED = ("_storage", "_last_wrapped_list_snapshot")


@contextmanager
def untouched(*holders: Any) -> Iterator[None]:
    """Run the body in a new Keras session; afterwards restore the session, `holders` and the global state.

    Restored are the variables, attributes, lists and mappings of every layer, optimizer, loss and metric reached from
    `holders`, the random states of Python, NumPy, TensorFlow and Keras, Keras's settings and `sys.path`. Not restored
    are the sequences of single TensorFlow operations that have a seed of their own, such as
    `tf.random.normal(..., seed=5)`: they start anew, as after `tf.random.set_seed`.

    Args:
        holders: objects of Keras, and containers of them.
    """
    with _settings_put_back(), _random_states_put_back():
        kept, trackers = Remembered(holders), session_trackers()
        keras.utils.clear_session(free_memory=False)
        try:
            yield
        finally:
            set_session_trackers(trackers)
            kept.put_back()


@contextmanager
def _settings_put_back() -> Iterator[None]:
    path, eager = list(sys.path), tf.config.functions_run_eagerly()
    image_data_format, epsilon = keras.config.image_data_format(), keras.config.epsilon()
    with kept_precision():
        try:
            yield
        finally:
            sys.path[:] = path
            keras.config.set_image_data_format(image_data_format)
            keras.config.set_epsilon(epsilon)
            if tf.config.functions_run_eagerly() != eager:
                tf.config.run_functions_eagerly(eager)


@contextmanager
def _random_states_put_back() -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    draws, generators = Draws(), []
    with suppress(RuntimeError):  # under op determinism there is one only if the user has set it
        generators.append(tf.random.get_global_generator())
    states = [tf.identity(generator.state) for generator in generators]
    try:
        yield
    finally:
        draws.put_back()
        for generator, state in zip(generators, states, strict=True):
            tf.random.set_global_generator(generator)
            generator.state.assign(state)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the global one is meant


class Remembered:
    """The attributes and contents of everything that is reached from some objects, and the values of all variables."""

    def __init__(self, roots: Iterable[Any], *, beside: Remembered | None = None, values: bool = True) -> None:
        """Read everything that is reached from `roots`, but for what another one holds already.

        Without `values` only attributes and contents are read.
        """
        self._reads_values = values
        self._attributes: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._contents: list[tuple[Any, Any]] = []
        self._values: list[tuple[Callable[[Any], Any], Any]] = []
        # Holds the objects, so that no id is used twice.
        self.seen: dict[int, Any] = {} if beside is None else dict(beside.seen)
        waiting = list(roots)
        while waiting:
            value = waiting.pop()
            if id(value) not in self.seen:
                self.seen[id(value)] = value
                waiting += self._keep(value)

    def _keep(self, value: Any) -> list[Any]:
        """Keep one object; return what it leads to."""
        if isinstance(value, _CONTAINERS):
            value = getattr(value, "__wrapped__", value)  # TensorFlow's proxy of a mapping
            copy = dict(value) if isinstance(value, dict) else list(value)
            self._contents.append((value, copy))
            return list(copy.values()) if isinstance(copy, dict) else copy
        if isinstance(value, _KEPT):
            self._attributes.append((vars(value), dict(vars(value))))
            return list(vars(value).values())
        if isinstance(value, tf.Variable) and self._reads_values:
            self._values.append((value.assign, tf.identity(value)))
        return list(value) if isinstance(value, tuple) else []

    def put_back(self) -> None:
        """Restore attributes and containers first, for they say which variables there are, then the values."""
        for now, before in self._attributes:
            _refill(now, before)
        for container, before in self._contents:
            _refill(container, before)
        for assign, value in self._values:
            assign(value)


def _refill(container: Any, before: Any) -> None:
    """Give a container its contents back, past the methods by which Keras tracks what is put into one."""
    if _ids(container) != _ids(before):
        base = next(kind for kind in _CONTAINERS if isinstance(container, kind))
        # TensorFlow's wrapper around a list, as of the nodes of a functional model, holds the items a second time.
        attributes = getattr(container, "__dict__", {})
        for one in (container, *(attributes[name] for name in _WRAPPED if isinstance(attributes.get(name), base))):
            base.clear(one)
            (base.extend if hasattr(base, "extend") else base.update)(one, before)


def _ids(values: Any) -> list[int]:
    """Return what tells whether two containers hold the same objects in the same order."""
    flat = [*values, *values.values()] if isinstance(values, dict) else values
    return [id(value) for value in flat]

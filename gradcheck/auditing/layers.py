"""Calls of Keras layers as the script makes them, and the penalties that they add."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.auditing.lines import Line, user_line
from gradcheck.auditing.step import Loss, identity
from gradcheck.keras_private import all_layers, takes_training

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.watch import Watch


@dataclass(frozen=True, eq=False)
class LayerCall:
    """A call of a layer that no other layer made: `training` is None if the script did not say.

    `step` and `tape` are numbers.
    """

    layer: Any
    training: bool | None
    line: Line
    step: int
    tape: int | None


class Layers:
    """The layers that a script calls."""

    def __init__(self, watch: Watch) -> None:
        """Nothing was called."""
        self._watch = watch
        self.calls: list[LayerCall] = []
        self.roots: dict[int, Any] = {}
        self._depth = threading.local()
        #: (the step's number, the variables' ids, the penalty of each)
        self._penalties: list[tuple[Any, list[int], list[Any]]] = []

    def patch(self, put: Any, wrap: Any) -> None:
        """Watch calls, and reads of penalties."""
        wrap(keras.Layer, "__call__", self._call)
        wrap(keras.Layer, "_get_regularization_losses", self._read)

    def _call(self, original: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
        depth = getattr(self._depth, "value", 0)
        if depth or not self._watch.watching:
            return original(layer, *args, **kwargs)
        self._depth.value = 1
        try:
            return original(layer, *args, **kwargs)
        finally:
            self._depth.value = 0
            graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
            step = self._watch.step(graph)
            if step is not None:
                said = kwargs.get("training", args[1] if len(args) > 1 and isinstance(args[1], bool) else None)
                active = self._watch.active(graph)
                known = {(c.line, c.step) for c in self.calls[-64:]}
                line = user_line()
                if active:
                    self.roots.setdefault(id(layer), layer)
                if (line, step.number) not in known:
                    self.calls.append(LayerCall(layer, said, line, step.number, active[-1].number if active else None))

    def _read(self, original: Any, layer: Any) -> Any:
        found = original(layer)
        graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
        step = self._watch.step(graph)
        if found and step is not None and self._watch.watching:
            variables = [v for v in layer.trainable_weights if v.regularizer is not None]
            if len(variables) == len(found):
                self._penalties.append((step, [identity(v) for v in variables], found))
        return found

    def penalty(self, variable: Any, losses: Sequence[Loss]) -> dict[str, Any] | None:
        """Return the gradient of a variable's regularizer, and the weight of its penalty in each of some losses.

        None for a variable without one.
        """
        regularizer = getattr(variable, "regularizer", None)
        if regularizer is None or not losses:
            return None
        with tf.GradientTape() as tape:
            value = tf.convert_to_tensor(variable)
            tape.watch(value)
            penalty = regularizer(value)
        key = identity(variable)
        weights: list[Any] = []
        for loss in losses:
            total = tf.constant(0.0)
            for step, ids, found in self._penalties:
                if key in ids and loss.step is step and loss.target is not None:
                    tensor = found[ids.index(key)]
                    by = step.derivative(loss.target, loss.seed, {tensor._id: tensor})[tensor._id]  # noqa: SLF001
                    if by is not None:
                        total = total + tf.cast(tf.reduce_sum(by), tf.float32)
            weights.append(total if loss.step is not None else None)
        return {"gradient": tape.gradient(penalty, value), "weights": weights}


def acts_otherwise_in_training(layer: Any) -> bool:
    """Whether some layer inside drops, normalises or adds noise in training alone, or is the user's and may."""
    for one in all_layers([layer]):
        if type(one).__module__.startswith("keras."):
            if isinstance(one, keras.layers.BatchNormalization) or any(_positive(one, name) for name in _RANDOM):
                return True
        elif takes_training(one) and not one._layers:  # noqa: SLF001
            return True
    return False


#: Attributes by which layers of Keras act only in training.
_RANDOM = ("rate", "dropout", "recurrent_dropout", "stddev", "power_iterations")


def _positive(layer: Any, name: str) -> bool:
    value = getattr(layer, name, None)
    return isinstance(value, (int, float)) and value > 0

"""Optimizers of Keras: what they are given, and by what they scale losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.auditing.observing.script_step import current_graph
from gradcheck.problem.optimizer import classes_that_apply

if TYPE_CHECKING:
    from gradcheck.auditing.watch import Watch
    from gradcheck.user_calls.patches import Patches


class Optimizers:
    """The optimizers that the script uses."""

    def __init__(self, watch: Watch, patches: Patches) -> None:
        """Watch what Keras offers now, and every class of the user's once it is used."""
        self._watch, self._patches = watch, patches
        self._patched: set[type] = set()
        patches.wrap(classes_that_apply()[0], "__init__", self._made)
        patches.wrap(keras.optimizers.LossScaleOptimizer, "scale_loss", self._scale_loss)
        for kind in classes_that_apply():
            self._patch(kind)

    def _made(self, original: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        for kind in type(optimizer).__mro__:
            self._patch(kind)

    def _scale_loss(self, original: Any, optimizer: Any, loss: Any) -> Any:
        scaled = original(optimizer, loss)
        if not self._watch.idle and hasattr(scaled, "_id"):
            factor = tf.get_static_value(optimizer.dynamic_scale.value if optimizer.built else optimizer.initial_scale)
            self._watch.flow.factors[scaled._id] = (loss._id, float("nan") if factor is None else float(factor))  # noqa: SLF001
        return scaled

    def _patch(self, kind: type) -> None:
        if "apply" in vars(kind) and kind not in self._patched:
            self._patched.add(kind)
            self._patches.wrap(kind, "apply", self._apply)

    def _apply(self, original: Any, optimizer: Any, grads: Any, trainable_variables: Any = None, **kwargs: Any) -> Any:
        here = self._watch.here
        if self._watch.idle or here.applying:
            return original(optimizer, grads, trainable_variables, **kwargs)
        grads = list(grads)
        variables = optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)  # noqa: SLF001
        with self._watch.safely():
            self._watch.trial.applied(current_graph(), optimizer, list(zip(variables, grads, strict=False)))
        here.applying += 1
        try:
            return original(optimizer, grads, trainable_variables, **kwargs)
        finally:
            here.applying -= 1
            self._watch.rest()

"""Calls of Keras layers as the script makes them, and the penalties that they add."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.auditing.observing.script_step import ServedLoss, current_graph
from gradcheck.keras_private import all_layers, own_losses, takes_training
from gradcheck.user_calls.lines import ScriptLine, user_line
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.auditing.observing.script_step import GradientCall, ScriptStep
    from gradcheck.auditing.watch import Watch
    from gradcheck.user_calls.patches import Patches


@dataclass(frozen=True, eq=False)
class ModelCall:
    """A call of a layer that no other layer made: `training` is None if the script did not say.

    `step` and `tape` are numbers; `trained` says whether it, or a call inside, was given `training`, and not False.
    """

    layer: Any
    training: bool | None
    trained: bool
    line: ScriptLine
    step: int
    tape: int | None

    def differs(self, other: ModelCall) -> bool:
        """Whether it is another layer's call, at another line, in another step or mode."""
        mine = (id(self.layer), self.training, self.trained, self.line, self.step)
        return mine != (id(other.layer), other.training, other.trained, other.line, other.step)


class Layers:
    """The layers that a script calls."""

    def __init__(self, watch: Watch) -> None:
        """Nothing was called."""
        self._watch = watch
        self.calls: list[ModelCall] = []
        self.roots: dict[int, Any] = {}
        self._here = threading.local()
        #: (the step's number, the variables' ids, the penalty of each)
        self._penalties: list[tuple[ScriptStep, list[int], list[Any]]] = []
        #: (the step, the tape's number, the layer, the penalty)
        self._added: list[tuple[ScriptStep, int, Any, Any]] = []

    def forget(self) -> None:
        """Forget the penalties of steps that are over."""
        self._penalties = [one for one in self._penalties if one[0].graph is not None]
        self._added = [one for one in self._added if one[0].graph is not None]

    def patch(self, patches: Patches) -> None:
        """Watch calls, and reads of penalties."""
        patches.wrap(keras.Layer, "__call__", self._call)
        for name in ("fit", "train_on_batch"):
            patches.wrap(next(kind for kind in keras.Model.__mro__ if name in vars(kind)), name, self._fit)
        patches.wrap(keras.Layer, "_get_regularization_losses", self._read)

    def _call(self, original: Any, layer: Any, *args: Any, **kwargs: Any) -> Any:
        here = self._here
        if not self._watch.watching:
            return original(layer, *args, **kwargs)
        said = kwargs.get("training", args[1] if len(args) > 1 and isinstance(args[1], bool) else None)
        trained = said is not None and said is not False
        if getattr(here, "inside", False):
            here.trained = here.trained or trained
            return original(layer, *args, **kwargs)
        here.inside, here.trained = True, trained
        try:
            return original(layer, *args, **kwargs)
        finally:
            here.inside = False
            step = self._watch.step(current_graph())
            if step is not None:
                with self._watch.safely():
                    self._called(step, layer, said, trained=here.trained)

    def _fit(self, original: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        self.roots.setdefault(id(model), model)
        return original(model, *args, **kwargs)

    def _called(self, step: ScriptStep, layer: Any, training: bool | None, *, trained: bool) -> None:  # noqa: FBT001 - as the script says it
        active = self._watch.active(step.graph)
        tape, line = active[-1].number if active else None, user_line()
        if tape is not None:
            added = [t for one in all_layers([layer]) for t in own_losses(one) if hasattr(t, "_id")]
            self._added += [(step, tape, layer, tensor) for tensor in added]
            self.roots.setdefault(id(layer), layer)
        new = ModelCall(layer, training, trained, line, step.number, tape)
        if all(new.differs(call) for call in self.calls[-64:]):
            self.calls.append(new)

    def line_of(self, call: GradientCall) -> ScriptLine:
        """Return the line of the first model that ran under the tape that was asked; else that of the tape."""
        return next((one.line for one in self.calls if one.tape == call.tape.number), call.tape.line)

    def _read(self, original: Any, layer: Any) -> Any:
        found = original(layer)
        step = self._watch.step(current_graph())
        if found and step is not None and self._watch.watching:
            variables = [v for v in layer.trainable_weights if v.regularizer is not None]
            if len(variables) == len(found):
                self._penalties.append((step, [identity(v) for v in variables], found))
        return found

    def penalties_of(self, step: ScriptStep) -> list[Any]:
        """Return the penalties that were read or added in a step."""
        read = [tensor for of_step, _, found in self._penalties if of_step is step for tensor in found]
        return read + [tensor for of_step, _, _, tensor in self._added if of_step is step]

    def penalties(self, variable: Any, losses: Sequence[ServedLoss], tapes: set[int]) -> list[dict[str, Any]]:
        """Return what `model.losses` has for a variable: the gradient of each penalty, and its weight in some losses.

        Its value is given where it is a penalty of this variable alone.

        Args:
            variable: of Keras; others have no penalties.
            losses: those that serve the variable.
            tapes: the numbers of the tapes that these were differentiated in.
        """
        if not losses or any(loss.step is None for loss in losses):
            return []
        found = [self._of_variable(variable, losses), *self._of_activations(variable, losses, tapes)]
        return [one for one in found if one is not None]

    def _of_variable(self, variable: Any, losses: Sequence[ServedLoss]) -> dict[str, Any] | None:
        regularizer = getattr(variable, "regularizer", None)
        if regularizer is None:
            return None
        with tf.GradientTape() as tape:
            value = tf.convert_to_tensor(variable)
            tape.watch(value)
            penalty = regularizer(value)
        key = identity(variable)
        reads = [(step, found[ids.index(key)]) for step, ids, found in self._penalties if key in ids]
        weights = [_weight(loss, [tensor for step, tensor in reads if step is loss.step]) for loss in losses]
        return {"gradient": tape.gradient(penalty, value), "weights": weights, "value": penalty}

    def _of_activations(self, variable: Any, losses: Sequence[ServedLoss], tapes: set[int]) -> Iterator[dict[str, Any]]:
        """Yield those that layers added in a call, of the models that the variable belongs to."""
        key = identity(variable)
        for step, tape, layer, tensor in self._added:
            of_layer = (identity(v) for v in layer.trainable_variables)
            if losses[0].step is not step or tape not in tapes or key not in of_layer:
                continue
            gradient = step.derivative(tensor, None, {key: variable})[key]
            if gradient is not None:
                yield {"gradient": gradient, "weights": [_weight(loss, [tensor]) for loss in losses], "value": None}


def _weight(loss: ServedLoss, penalties: Sequence[Any]) -> Any:
    """Return the derivative of a loss by some penalties, summed."""
    total = tf.constant(0.0)
    for tensor in penalties:
        by = loss.references.get(identity(tensor))
        if identity(tensor) not in loss.references and loss.step is not None:  # read after the gradient call
            by = loss.step.derivative(loss.target, loss.seed, {identity(tensor): tensor})[identity(tensor)]
        total = total if by is None else total + tf.cast(tf.reduce_sum(by), tf.float32)
    return total


def acts_otherwise_in_training(layer: Any) -> bool:
    """Whether some layer inside drops, normalises or adds noise in training alone, or is the user's and may."""
    return bool(training_layers(layer)) or any(_may_act_otherwise(one) for one in all_layers([layer]))


def training_layers(layer: Any) -> list[Any]:
    """Return the layers of Keras inside that drop, normalise or add noise in training alone."""
    return [one for one in all_layers([layer]) if _is_of_keras(one) and _acts_otherwise(one)]


def trains_by_default(layer: Any) -> bool:
    """Whether a layer inside is the user's and runs in training mode unless it is told not to."""
    users = [one for one in all_layers([layer]) if not _is_of_keras(one) and takes_training(one)]
    return any(signature(one.call).parameters["training"].default is True for one in users)


def _is_of_keras(layer: Any) -> bool:
    return type(layer).__module__.startswith("keras.")


def _acts_otherwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) or any(_positive(layer, name) for name in _RANDOM)


def _may_act_otherwise(layer: Any) -> bool:
    return not _is_of_keras(layer) and takes_training(layer) and not layer._layers  # noqa: SLF001


#: Attributes by which layers of Keras act only in training.
_RANDOM = ("rate", "dropout", "recurrent_dropout", "stddev", "power_iterations")


def _positive(layer: Any, name: str) -> bool:
    value = getattr(layer, name, None)
    return isinstance(value, (int, float)) and value > 0

"""All that a forward pass or user code can change: weights, state and random seeds, held and put back."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.naming import unique_names
from gradcheck.keras_private import (
    all_layers,
    global_seed,
    own_metrics,
    own_weights,
    set_trainable_flag,
    trainable_flag,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, eq=False, kw_only=True)
class StateVariable:
    """One variable of the state: batch-norm statistics, a layer's seed state, a recurrent state."""

    path: str
    layer: str
    name: str
    variable: Any


def state_variables(models: Sequence[keras.Layer]) -> tuple[StateVariable, ...]:
    """What a forward pass through `models` changes that is not trained.

    `variables` lacks the states of stateful recurrent layers and the metrics inside layers, and counts frozen weights
    as not trainable, which are no state.
    """
    layers = all_layers(models)
    weights = {id(v) for layer in layers for v in own_weights(layer)}  # also those frozen since
    found: dict[int, tuple[str, Any]] = {}
    for model in models:
        found.update({id(v): (v.path, v) for v in model.variables if not v.trainable and id(v) not in weights})
    for layer in layers:
        for i, v in enumerate(keras.tree.flatten(getattr(layer, "states", None) or [])):
            found[id(v)] = (f"{layer.path}/state_{i}", v)
        if not isinstance(layer, keras.Model):  # whose metrics its own training step updates
            found.update({id(v): (v.path, v) for metric in own_metrics(layer) for v in metric.variables})
    paths = unique_names(path for path, _ in found.values())
    return tuple(
        StateVariable(path=path, layer=path.rpartition("/")[0], name=path.rpartition("/")[2], variable=variable)
        for path, (_, variable) in zip(paths, found.values(), strict=True)
    )


def movable_variables(models: Sequence[keras.Layer]) -> list[Any]:
    """All that a forward pass through `models` can change: weights too, for spectral normalisation assigns one."""
    weights = {id(v): v for model in models for v in model.variables}
    state = {id(s.variable): s.variable for s in state_variables(models)}
    return [*{**weights, **state}.values(), global_seed()]


class Snapshot:
    """The values of some variables as they are when it is made.

    Reading a variable shares its buffer, which TensorFlow copies only when the variable is written to: a snapshot
    costs no memory until something changes.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        """Reads `variables`."""
        self._held = tuple((v, tf.identity(v.value)) for v in variables)

    @property
    def variables(self) -> tuple[Any, ...]:
        """What it holds the values of, in order."""
        return tuple(variable for variable, _ in self._held)

    def put_back(self, variables: Sequence[Any] | None = None) -> None:
        """Assigns to every variable, or to those of `variables`, what it held."""
        wanted = None if variables is None else {id(variable) for variable in variables}
        for variable, value in self._held:
            if wanted is None or id(variable) in wanted:
                variable.assign(value)

    def changed(self, variables: Sequence[Any]) -> list[Any]:
        """Those of `variables` that no longer hold what they held, bit for bit."""
        held = {id(variable): value for variable, value in self._held}
        return [v for v in variables if np.asarray(v.value).tobytes() != np.asarray(held[id(v)]).tobytes()]


class Moment(Snapshot):
    """A snapshot that also holds Python's and NumPy's own generators, which some augmentation layers draw from."""

    def __init__(self, variables: Sequence[Any]) -> None:
        """Reads `variables` and the generators."""
        super().__init__(variables)
        self._generators = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant

    def put_back(self, variables: Sequence[Any] | None = None) -> None:
        """Puts back all of it; of the variables those that are given."""
        super().put_back(variables)
        python, numpy = self._generators
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the global one is meant


class State:
    """A snapshot of weights, state, seeds and what is trainable, taken when it is made."""

    def __init__(
        self, models: Sequence[keras.Layer], *, seed: int, parts: Sequence[keras.Layer] = (), flows: bool = False
    ) -> None:
        """Takes the snapshot of all variables of `models` and `parts`.

        Args:
            models: the model, and segments that share its layers.
            seed: restarts Python's, NumPy's and TensorFlow's own generators.
            parts: segments that have layers of their own, and so a state of their own, in the model's order.
            flows: within a step of training, which starts from what there is and leaves what it changes: neither
                `restore` nor `preserved` does anything.
        """
        self._models, self._parts, self.flows = tuple(models), tuple(parts), flows
        self.variables = state_variables(models)
        own = state_variables(parts)
        self._of_parts = dict(zip((s.path for s in self.variables), own, strict=True)) if own else {}
        self._seed = seed
        models = [*models, *parts]
        self._snapshot = Snapshot(movable_variables(models))
        self._trainable = [(layer, trainable_flag(layer)) for layer in all_layers(models)]
        self._trainable += [(v, trainable_flag(v)) for model in models for v in model.variables]

    def retaken(self, *, flows: bool = False) -> State:
        """The state of the same models as it is now, for one step of training if it `flows`."""
        return State(self._models, seed=self._seed, parts=self._parts, flows=flows)

    @property
    def movable(self) -> tuple[Any, ...]:
        """All that the snapshot holds: weights, state and the session's own seed, in the order of the layers."""
        return self._snapshot.variables

    def restore(self) -> None:
        """Puts back everything, and restarts the random generators outside Keras's layers."""
        if self.flows:
            return
        self._snapshot.put_back()
        self.put_back_trainable()
        random.seed(self._seed)
        np.random.seed(self._seed)  # noqa: NPY002 - user code may draw from the global generator
        tf.random.set_seed(self._seed)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Starts from the snapshot and goes back to it, also when the body raises."""
        self.restore()
        try:
            yield
        finally:
            self.restore()

    def put_back_trainable(self) -> None:
        """Freezes and thaws what was frozen and thawed when the snapshot was taken."""
        for holder, trainable in self.frozen_or_thawed:
            set_trainable_flag(holder, trainable=trainable)

    def put_back(self, variables: Sequence[Any]) -> None:
        """Assigns to these what the snapshot holds, whether it flows or not."""
        self._snapshot.put_back(variables)

    @property
    def frozen_or_thawed(self) -> list[tuple[Any, bool]]:
        """The layers and variables whose `trainable` has changed, and what it was."""
        return [(holder, was) for holder, was in self._trainable if trainable_flag(holder) != was]

    def read(self, *, split: bool = True) -> dict[str, Any]:
        """The current value of every state variable, by path: that of the split model, which may have its own."""
        held = {s.path: self._of_parts.get(s.path, s) if split else s for s in self.variables}
        return {path: tf.identity(s.variable.value) for path, s in held.items()}

    def changed(self, variables: Sequence[Any]) -> list[Any]:
        """Those of `variables` that no longer hold what the snapshot holds, bit for bit."""
        return self._snapshot.changed(variables)

"""Weights, state and random seeds, which a forward pass or user code may change: snapshots, and restoring them."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.draws import restart
from gradcheck.building.state_variables import state_variables
from gradcheck.keras_private import all_layers, global_seed, set_trainable_flag, trainable_flag
from gradcheck.placement.devices import beside, is_remote, same_bits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import keras


def is_seed(variable: Any) -> bool:
    """Whether the variable is a generator's state: Keras keeps no other integers that a forward pass changes."""
    return not tf.as_dtype(variable.dtype).is_floating


def movable_variables(models: Sequence[keras.Layer]) -> list[Any]:
    """Return all variables that a forward pass may change: weights too, for spectral normalisation assigns one."""
    weights = {id(v): v for model in models for v in model.variables}
    state = {id(s.variable): s.variable for s in state_variables(models)}
    return [*{**weights, **state}.values(), global_seed()]


def _read(variable: Any) -> Any:
    """Return the value of a variable, where the variable is."""
    with beside(variable.value):
        return tf.identity(variable.value)


def _unchanged(now: Any, before: Any) -> bool:
    """Whether two values are equal by their bytes, for NaN must equal itself."""
    return same_bits(now, before) if is_remote(now) else np.asarray(now).tobytes() == np.asarray(before).tobytes()


class Snapshot:
    """The values of some variables at the time of its creation.

    Reading a variable shares its buffer, which TensorFlow copies only when the variable is written: a snapshot costs no
    memory until something changes.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        """Reads `variables`."""
        self._held = tuple((v, _read(v)) for v in variables)

    @property
    def variables(self) -> tuple[Any, ...]:
        """The variables whose values it holds, in order."""
        return tuple(variable for variable, _ in self._held)

    def put_back(self, variables: Sequence[Any] | None = None) -> None:
        """Assign the held values to every variable, or to those in `variables`."""
        wanted = None if variables is None else {id(variable) for variable in variables}
        for variable, value in self._held:
            if wanted is None or id(variable) in wanted:
                variable.assign(value)

    def changed(self, variables: Sequence[Any]) -> list[Any]:
        """Return those of `variables` whose values differ from the held ones, bit for bit."""
        held = {id(variable): value for variable, value in self._held}
        return [v for v in variables if not _unchanged(v.value, held[id(v)])]


class Moment(Snapshot):
    """A snapshot that also holds the states of Python's and NumPy's generators, which some augmentation layers use."""

    def __init__(self, variables: Sequence[Any]) -> None:
        """Reads `variables` and the generators."""
        super().__init__(variables)
        self._generators = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant

    def put_back(self, variables: Sequence[Any] | None = None) -> None:
        """Restore the generators, and every variable or those in `variables`."""
        super().put_back(variables)
        python, numpy = self._generators
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002 - the global one is meant


class State:
    """A snapshot of weights, state, seeds and `trainable` flags, taken when it is created."""

    def __init__(
        self,
        models: Sequence[keras.Layer],
        *,
        seed: int,
        parts: Sequence[keras.Layer] = (),
        flows: bool = False,
        names: Mapping[int, str] | None = None,
    ) -> None:
        """Take the snapshot of all variables of `models` and `parts`.

        Args:
            models: the model, and segments that share its layers.
            seed: restarts Python's, NumPy's and TensorFlow's own generators.
            parts: segments with layers, and so a state, of their own, in the model's order.
            flows: for a step of training, which starts from the current values and leaves its own: `restore` and
                `preserved` then do nothing.
            names: the paths of variables by id, where they are not Keras's own.
        """
        self._models, self._parts, self.flows, self._names = tuple(models), tuple(parts), flows, names
        self.variables = state_variables(models, names)
        own = state_variables(parts)
        self._of_parts = dict(zip((s.path for s in self.variables), own, strict=True)) if own else {}
        self._seed = seed
        models = [*models, *parts]
        self._snapshot = Snapshot(movable_variables(models))
        self._trainable = [(layer, trainable_flag(layer)) for layer in all_layers(models)]
        self._trainable += [(v, trainable_flag(v)) for model in models for v in model.variables]

    def retaken(self, *, flows: bool = False) -> State:
        """Return a new snapshot of the same models; for one step of training if it `flows`."""
        return State(self._models, seed=self._seed, parts=self._parts, flows=flows, names=self._names)

    @property
    def movable(self) -> tuple[Any, ...]:
        """All variables of the snapshot: weights, state and the session's own seed, in the order of the layers."""
        return self._snapshot.variables

    def restore(self) -> None:
        """Restore everything, and restart the random generators outside Keras's layers."""
        if self.flows:
            return
        self._snapshot.put_back()
        self.put_back_trainable()
        random.seed(self._seed)
        np.random.seed(self._seed)  # noqa: NPY002 - user code may draw from the global generator
        restart(self._seed)

    @contextmanager
    def preserved(self) -> Iterator[None]:
        """Restore the snapshot before the body and after it, also if the body raises."""
        self.restore()
        try:
            yield
        finally:
            self.restore()

    def put_back_trainable(self) -> None:
        """Restore the `trainable` flags of the snapshot."""
        for holder, trainable in self.frozen_or_thawed:
            set_trainable_flag(holder, trainable=trainable)

    def put_back(self, variables: Sequence[Any]) -> None:
        """Assign the snapshot's values to `variables`, whether it flows or not."""
        self._snapshot.put_back(variables)

    @property
    def frozen_or_thawed(self) -> list[tuple[Any, bool]]:
        """The layers and variables whose `trainable` has changed, with its former value."""
        return [(holder, was) for holder, was in self._trainable if trainable_flag(holder) != was]

    def read(self, *, split: bool = True) -> dict[str, Any]:
        """Return the current value of every state variable by path: the split model's, which may have its own."""
        held = {s.path: self._of_parts.get(s.path, s) if split else s for s in self.variables}
        return {path: _read(s.variable) for path, s in held.items()}

    def write(self, values: Mapping[str, Any]) -> None:
        """Assign values to state variables by path, to those of the whole model and of the parts."""
        for path, state in ((s.path, of) for s in self.variables for of in (s, self._of_parts.get(s.path, s))):
            if path in values:
                state.variable.assign(values[path])

    def changed(self, variables: Sequence[Any]) -> list[Any]:
        """Return those of `variables` whose values differ from the snapshot's, bit for bit."""
        return self._snapshot.changed(variables)

"""The layers of a model that is cut along time: a slice of the sequence, a recurrent layer taken up again, the join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.state import state_variables
from gradcheck.keras_private import mask_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class TimeSlice(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """The time steps `start` to `stop` (not included) of a tensor (batch, time, ...), and of the mask on it."""

    def __init__(self, start: int, stop: int, *, name: str) -> None:
        """Counts time steps from 0."""
        super().__init__(name=name, autocast=False)
        self.supports_masking, self.built = True, True
        self._steps = slice(start, stop)

    def call(self, sequence: Any) -> Any:
        """(batch, time, ...) to (batch, stop - start, ...)."""
        return sequence[:, self._steps]

    def compute_mask(self, sequence: Any, mask: Any) -> Any:  # noqa: ARG002 - Keras's signature
        """The same steps of the mask."""
        return None if mask is None else mask[:, self._steps]


class Resumed(keras.layers.RNN):  # type: ignore[misc]  # Keras has no types
    """A recurrent layer, with the same cell, that goes on where another call of it stopped.

    It returns, as one flat list, what the next call needs: the output, the states, the output of the last step (for
    sequences only), and the seeds from which it drew its dropout masks. Keras draws these masks once a call, so every
    chunk must draw from the same seeds as the first; and where masked steps come first Keras starts from an output of
    zeros, so that the last output must be carried on as well.
    """

    def __init__(self, layer: keras.layers.RNN, *, stateful: bool) -> None:
        """Takes up `layer`; `stateful` keeps the states in variables of the layer's own, zero at first."""
        super().__init__(
            layer.cell,
            return_sequences=layer.return_sequences,
            return_state=True,
            stateful=stateful or layer.stateful,
            unroll=layer.unroll,
            zero_output_for_mask=layer.zero_output_for_mask,
            dtype=layer.dtype_policy,
            name=layer.name,
        )
        self.__dict__["states"] = layer.states  # the very variables, past Keras's tracking: not of this layer's own
        self._path = layer.path  # what they are named after
        self.seeds = dropout_seeds(layer)
        self.built = True

    def make_states(self, batch_size: int) -> None:
        """Gives a stateful layer its states, unless the model's own layer has them already."""
        if self.states is None:
            self._create_state_variables(batch_size)

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,  # noqa: FBT001, FBT002 - Keras's signature
        *,
        last: Any = None,
        seeds: Any = None,
        follow_mask: bool = False,
    ) -> list[Any]:
        """One chunk (batch, steps, features).

        Args:
            sequences: the chunk.
            initial_state: the states that the call before returned, flat; None for the first.
            mask: (batch, steps), true where a step counts.
            training: whether there is dropout.
            last: the output of the step before the chunk; None for the first chunk.
            seeds: what the first call returned as its seeds; None for the first.
            follow_mask: without a `mask`, use the one on `sequences`.
        """
        mask = mask_of(sequences) if mask is None and follow_mask else mask
        if initial_state is not None:
            structure = self.get_initial_state(batch_size=keras.ops.shape(sequences)[0])
            initial_state = keras.tree.pack_sequence_as(structure, keras.tree.flatten(initial_state))
        for variable, seed in zip(self.seeds, seeds or (), strict=seeds is not None):
            variable.assign(seed)
        drawn = [tf.identity(variable.value) for variable in self.seeds]
        output, *states = super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        if last is not None and mask is not None and not self.zero_output_for_mask:
            output = carried(output, last, mask)
        lasts = [output[:, -1]] if self.return_sequences else []
        return [output, *keras.tree.flatten(states), *lasts, *drawn]

    def compute_mask(self, sequences: Any, mask: Any) -> list[Any]:  # noqa: ARG002 - Keras's signature
        """The mask stays on a sequence; nothing else has one."""
        return [keras.tree.flatten(mask)[0] if self.return_sequences else None]


def carried(output: Any, last: Any, mask: Any) -> Any:
    """`output` of a chunk, with `last` at the masked steps that come before its first unmasked one.

    Args:
        output: (batch, steps, units), or (batch, units) for the last step alone.
        last: (batch, units), the output before the chunk.
        mask: (batch, steps).
    """
    seen = tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
    if len(output.shape) == len(last.shape):
        return tf.where(seen[:, -1, None], output, last)
    return tf.where(seen[:, :, None], output, last[:, None])


class Joined(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """What the whole recurrent layer returns, out of what its chunks returned."""

    def __init__(self, layer: keras.layers.RNN) -> None:
        """Stands for `layer`, whose activity penalty is on its whole output."""
        super().__init__(
            name=layer.name,
            autocast=False,
            dtype=layer.dtype_policy,
            activity_regularizer=layer.activity_regularizer,
        )
        self.supports_masking, self.built = True, True
        self._whole = layer.return_sequences

    def call(self, outputs: Any, states: Any = None) -> list[Any]:
        """The output (all chunks' one after the other for a sequence, else the last one's), then the states."""
        output = tf.concat(outputs, axis=1) if self._whole else tf.identity(outputs[-1])
        return [output, *(states or ())]

    def compute_mask(self, outputs: Any, masks: Any) -> list[Any]:  # noqa: ARG002 - Keras's signature
        """The chunks' masks one after the other."""
        masks = keras.tree.flatten(masks)
        return [tf.concat(masks, axis=1) if self._whole and all(mask is not None for mask in masks) else None]


def dropout_seeds(layer: keras.layers.RNN) -> list[Any]:
    """The seed states from which Keras draws the dropout masks of the layer's cells, once a call."""
    return [
        cell.seed_generator.state for cell in dropping_cells(layer) if cell.dropout > 0 or cell.recurrent_dropout > 0
    ]


def dropping_cells(layer: keras.layers.RNN) -> list[Any]:
    """The cells that Keras keeps dropout masks for: those of its own kind, alone or stacked."""
    cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    return [cell for cell in cells if hasattr(cell, "get_recurrent_dropout_mask")]


def step_seeds(layer: keras.layers.RNN) -> Sequence[str]:
    """The paths of the other seed states in the cell: those drawn from at every step."""
    if not isinstance(layer.cell, keras.Layer):
        return ()
    per_call = {id(cell.seed_generator.state) for cell in dropping_cells(layer)}
    seeds = [s for s in state_variables([layer.cell]) if not tf.as_dtype(s.variable.dtype).is_floating]
    return [s.path for s in seeds if id(s.variable) not in per_call]

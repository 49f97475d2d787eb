"""The layers of a model that is cut along time: a slice of the sequence, a resumed recurrent layer, and the join."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.state_variables import state_variables
from gradcheck.keras_private import mask_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class TimeSlice(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """The time steps `start` to `stop` (exclusive) of a tensor (batch, time, ...), and of its mask."""

    def __init__(self, start: int, stop: int, *, name: str) -> None:
        """Take the time steps from `start` (from 0) to `stop`, exclusive."""
        super().__init__(name=name, autocast=False)
        self.supports_masking, self.built = True, True
        self._steps = slice(start, stop)

    def call(self, sequence: Any) -> Any:
        """Return (batch, stop - start, ...) of (batch, time, ...)."""
        return sequence[:, self._steps]

    def compute_mask(self, sequence: Any, mask: Any) -> Any:  # noqa: ARG002 - Keras's signature
        """Return the same steps of the mask."""
        return None if mask is None else mask[:, self._steps]


class Resumed(keras.layers.RNN):  # type: ignore[misc]  # Keras has no types
    """A recurrent layer with another layer's cell that continues where another call stopped.

    It returns, as one flat list, all that the next call needs: the output, the states, the output of the last step (for
    sequences only), and the seeds of its dropout masks. Keras draws these masks once per call, so every chunk must draw
    from the same seeds as the first. Where masked steps come first Keras repeats an output of zeros, so the last output
    must be passed on as well.
    """

    def __init__(self, layer: keras.layers.RNN, *, stateful: bool) -> None:
        """Resume `layer`; with `stateful` the states are variables of the new layer, zero at first."""
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
        self._path = layer.path  # the states are named after it
        self.seeds = dropout_seeds(layer)
        self.built = True

    def make_states(self, batch_size: int) -> None:
        """Create the states of a stateful layer, unless the model's own layer has them already."""
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
        """Run one chunk (batch, steps, features).

        Args:
            sequences: the chunk.
            initial_state: the states that the call before returned, flat; None for the first.
            mask: (batch, steps), true for the steps that count.
            training: whether dropout is applied.
            last: the output of the step before the chunk; None for the first chunk.
            seeds: the seeds that the first call returned; None for the first.
            follow_mask: without a `mask`, use the one on `sequences`.
        """
        mask = mask_of(sequences) if mask is None and follow_mask else mask
        if initial_state is not None:
            structure = self.get_initial_state(batch_size=keras.ops.shape(sequences)[0])
            initial_state = keras.tree.pack_sequence_as(structure, keras.tree.flatten(initial_state))
        for variable, seed in zip(self.seeds, seeds or (), strict=seeds is not None):
            variable.assign(seed)
        # Read before the call, for drawing a mask advances its seed.
        drawn = [tf.identity(variable.value) for variable in self.seeds]
        output, *states = super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        if last is not None and mask is not None and not self.zero_output_for_mask:
            output = carried(output, last, mask)
        lasts = [output[:, -1]] if self.return_sequences else []
        return [output, *keras.tree.flatten(states), *lasts, *drawn]

    def compute_mask(self, sequences: Any, mask: Any) -> list[Any]:  # noqa: ARG002 - Keras's signature
        """Return the mask for a sequence; no other output has one."""
        return [keras.tree.flatten(mask)[0] if self.return_sequences else None]


def carried(output: Any, last: Any, mask: Any) -> Any:
    """Return a chunk's `output` with `last` at the masked steps that precede its first unmasked step.

    Args:
        output: (batch, steps, units), or (batch, units) for the last step alone.
        last: (batch, units), the output before the chunk.
        mask: (batch, steps).
    """
    # Later masked steps already repeat an output of this chunk.
    seen = tf.cumsum(tf.cast(mask, tf.int32), axis=1) > 0
    if len(output.shape) == len(last.shape):
        return tf.where(seen[:, -1, None], output, last)
    return tf.where(seen[:, :, None], output, last[:, None])


class Joined(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """Joins the outputs of the chunks to the output of the whole recurrent layer."""

    def __init__(self, layer: keras.layers.RNN) -> None:
        """Stand for `layer`, whose activity penalty applies to its whole output."""
        super().__init__(
            name=layer.name,
            autocast=False,
            dtype=layer.dtype_policy,
            activity_regularizer=layer.activity_regularizer,
        )
        self.supports_masking, self.built = True, True
        self._whole = layer.return_sequences

    def call(self, outputs: Any, states: Any = None) -> list[Any]:
        """Return the output (all chunks concatenated for a sequence, else the last one's), then the states."""
        output = tf.concat(outputs, axis=1) if self._whole else tf.identity(outputs[-1])
        return [output, *(states or ())]

    def compute_mask(self, outputs: Any, masks: Any) -> list[Any]:  # noqa: ARG002 - Keras's signature
        """Return the chunks' masks, concatenated."""
        masks = keras.tree.flatten(masks)
        return [tf.concat(masks, axis=1) if self._whole and all(mask is not None for mask in masks) else None]


def dropout_seeds(layer: keras.layers.RNN) -> list[Any]:
    """Return the seed states from which Keras draws the dropout masks of the layer's cells, once per call."""
    return [
        cell.seed_generator.state for cell in dropping_cells(layer) if cell.dropout > 0 or cell.recurrent_dropout > 0
    ]


def dropping_cells(layer: keras.layers.RNN) -> list[Any]:
    """Return the cells for which Keras keeps dropout masks: its own kinds, alone or stacked."""
    cells = layer.cell.cells if isinstance(layer.cell, keras.layers.StackedRNNCells) else [layer.cell]
    return [cell for cell in cells if hasattr(cell, "get_recurrent_dropout_mask")]


def step_seeds(layer: keras.layers.RNN) -> Sequence[str]:
    """Return the paths of the cell's other seed states, which are drawn from at every step."""
    if not isinstance(layer.cell, keras.Layer):
        return ()
    per_call = {id(cell.seed_generator.state) for cell in dropping_cells(layer)}
    seeds = [s for s in state_variables([layer.cell]) if not tf.as_dtype(s.variable.dtype).is_floating]
    return [s.path for s in seeds if id(s.variable) not in per_call]

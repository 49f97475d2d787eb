"""Recurrent layers as one `tf.while_loop` over a `TensorArray`: step by step, or chunk by chunk."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from gradcheck.cutting.time.chunk_layers import Resumed


class CellLoop(keras.layers.RNN):  # type: ignore[misc]  # Keras has no types
    """A recurrent layer whose steps are one while-loop over its cell, with the states as loop variables."""

    def __init__(self, layer: keras.layers.RNN) -> None:
        """Take the cell, states and flags of `layer`."""
        super().__init__(
            layer.cell,
            return_sequences=layer.return_sequences,
            return_state=layer.return_state,
            stateful=layer.stateful,
            zero_output_for_mask=layer.zero_output_for_mask,
            activity_regularizer=layer.activity_regularizer,
            dtype=layer.dtype_policy,
            name=layer.name,
        )
        self.__dict__["states"] = layer.states  # the very variables, past Keras's tracking: not of this layer's own
        self.built = True

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> tuple[Any, Any, Any]:  # noqa: FBT001, FBT002 - Keras's signature
        """Return the last output (batch, units), all outputs (batch, time, units) and the last states.

        Args:
            sequences: (batch, time, features).
            initial_state: the states before the first step.
            mask: (batch, time), true for the steps that count; a masked step repeats output and states of the one
                before.
            training: whether dropout is applied.
        """
        steps = int(sequences.shape[1])
        mask = keras.tree.flatten(mask)[0]
        taken, counts = _array(sequences), None if mask is None else _array(tf.cast(mask, tf.bool))
        zeros = self._zeros(sequences)
        keywords = {"training": training} if getattr(self.cell, "_call_has_training_arg", False) else {}

        def step(t: Any, last: Any, states: list[Any], returned: Any) -> tuple[Any, Any, list[Any], Any]:
            output, new = self.cell(taken.read(t), keras.tree.pack_sequence_as(initial_state, states), **keywords)
            new = keras.tree.flatten(new)
            if counts is not None:
                counted = counts.read(t)[:, None]
                output = tf.where(counted, output, zeros if self.zero_output_for_mask else last)
                new = [tf.where(counted, after, before) for after, before in zip(new, states, strict=True)]
            return t + 1, output, new, returned.write(t, output)

        outputs = tf.TensorArray(zeros.dtype, size=steps, element_shape=zeros.shape)
        # `maximum_iterations`, for XLA differentiates only loops of bounded length.
        start = (tf.constant(0), zeros, keras.tree.flatten(initial_state), outputs)
        _, last, states, outputs = tf.while_loop(lambda t, *_: t < steps, step, start, maximum_iterations=steps)
        return last, _swapped(outputs.stack()), keras.tree.pack_sequence_as(initial_state, states)

    def _zeros(self, sequences: Any) -> Any:
        """Return the output before the first step: zeros."""
        size = getattr(self.cell, "output_size", None)
        size = self.state_size[0] if size is None else size
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        return tf.zeros((keras.ops.shape(sequences)[0], size), dtype)


class LayerLoop(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """A while-loop over chunks of equal length, each passed to a `stateful=True` layer."""

    def __init__(self, layer: keras.layers.RNN, *, chunks: int, batch_size: int) -> None:
        """Run `layer` in `chunks` calls."""
        super().__init__(
            name=layer.name,
            autocast=False,
            dtype=layer.dtype_policy,
            activity_regularizer=layer.activity_regularizer,
        )
        self.supports_masking, self.built = True, True
        self.layer = Resumed(layer, stateful=True)
        self.layer.make_states(batch_size)
        self._chunks, self._returns_state = chunks, layer.return_state

    def call(
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,  # noqa: FBT001, FBT002 - Keras's signature
    ) -> Any:
        """Return the layer's own outputs for the whole of `sequences` (batch, time, features)."""
        layer = self.layer
        if initial_state is not None:
            for variable, value in zip(_flat(layer.states), _flat(initial_state), strict=True):
                variable.assign(value)
        mask = keras.tree.flatten(mask)[0]
        taken, counts = self._pieces(sequences), None if mask is None else self._pieces(tf.cast(mask, tf.bool))
        # Drawing advances the seeds, and the layer itself would draw its dropout masks once for the whole sequence.
        seeds = [tf.identity(seed.value) for seed in layer.seeds]

        def step(k: Any, last: Any, returned: Any) -> tuple[Any, Any, Any]:
            keywords = {} if counts is None else {"mask": counts.read(k), "last": last}
            output, *_ = layer(taken.read(k), training=training, seeds=seeds or None, **keywords)
            last = output[:, -1] if layer.return_sequences else output
            return k + 1, last, returned.write(k, output)

        spec = layer.compute_output_shape(tuple(sequences.shape))[0]
        zeros = tf.zeros((sequences.shape[0], spec[-1]), layer.compute_dtype)
        outputs = tf.TensorArray(zeros.dtype, size=self._chunks)
        start = (tf.constant(0), zeros, outputs)
        _, last, outputs = tf.while_loop(lambda k, *_: k < self._chunks, step, start, maximum_iterations=self._chunks)
        output = _unpieced(outputs.stack()) if layer.return_sequences else last
        states = [tf.identity(variable.value) for variable in _flat(layer.states)]
        return [output, *states] if self._returns_state else output

    def compute_mask(self, sequences: Any, mask: Any) -> list[Any]:
        """Return the mask that the layer returns."""
        return self.layer.compute_mask(sequences, mask)

    def _pieces(self, tensor: Any) -> Any:
        """Return (batch, time, ...) as a TensorArray of chunks (batch, time / chunks, ...)."""
        batch, steps, *rest = tensor.shape
        return _array(tf.reshape(tensor, (batch, self._chunks, steps // self._chunks, *rest)))


def _array(tensor: Any) -> Any:
    """Return the slices of (batch, n, ...) along its second axis, as a TensorArray."""
    return tf.TensorArray(tensor.dtype, size=tensor.shape[1], clear_after_read=False).unstack(_swapped(tensor))


def _swapped(tensor: Any) -> Any:
    """Exchange the first two axes."""
    return tf.transpose(tensor, (1, 0, *range(2, len(tensor.shape))))


def _unpieced(stacked: Any) -> Any:
    """Reshape (chunks, batch, steps, units) to (batch, time, units)."""
    # A reshape alone would mix examples: the batch must come before the chunks.
    swapped = _swapped(stacked)
    batch, chunks, steps, *rest = swapped.shape
    return tf.reshape(swapped, (batch, chunks * steps, *rest))


def _flat(states: Any) -> list[Any]:
    flat: list[Any] = keras.tree.flatten(states)
    return flat

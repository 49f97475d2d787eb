"""GC404: of the rows of a sparse gradient with the same index one is kept, instead of their sum."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.faults.interface import Injection, Place
from gradcheck.faults.places import at_weight, used_weights
from gradcheck.handoff.split import HandOff
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem, TensorKey, Weight


class SparseDuplicates:
    """Assignment in place of a sum: `dense[indices] = values`."""

    code = "GC404"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the table of each Embedding layer; then every table, if the model has inputs that may look one up."""
        tables = list(_tables(problem))
        for weight in tables:
            yield Injection(
                code=self.code,
                place=at_weight(weight),
                effect=f"of the rows that {weight.path} gets for one index the last was kept",
                steps=partial(LastRow, {weight.key}),
            )
        lookups = any(not tf.as_dtype(tensor.dtype).is_floating for tensor in problem.graph.inputs)
        if len(tables) > 1 or (lookups and not tables):
            yield Injection(
                code=self.code,
                place=Place(text="every sparse gradient", everywhere=True),
                effect="of the rows of every sparse gradient with one index the last was kept",
                steps=partial(LastRow, None),
            )


def _tables(problem: Problem) -> Iterator[Weight]:
    used = all_layers(layer for segment in problem.segments for layer in segment.used_layers)
    layers = [layer for layer in used if isinstance(layer, keras.layers.Embedding)]
    tables = {id(variable.value) for layer in layers for variable in layer.trainable_variables}
    keys = {weight.key for variable, weight in problem.counterparts.items() if variable in tables}
    return (weight for weight in used_weights(problem) if weight.key in keys)


class LastRow(HandOff):
    """The hand-off in which sparse gradients have each index once."""

    def __init__(self, keys: Collection[TensorKey] | None) -> None:
        """Change the gradients of the weights `keys`, or of all for None."""
        self._keys = keys

    def contribution(self, segment: Segment, key: TensorKey, gradient: Any) -> Any:
        """Return the gradient with the last row of each index."""
        gradient = super().contribution(segment, key, gradient)
        wanted = self._keys is None or key in self._keys
        return last_rows(gradient) if wanted and isinstance(gradient, tf.IndexedSlices) else gradient


def last_rows(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Return `gradient` with each index once, and the last of its rows."""
    indices, group = tf.unique(gradient.indices)
    rows = tf.range(tf.size(group))
    last = tf.math.unsorted_segment_max(rows, group, tf.size(indices))
    return tf.IndexedSlices(tf.gather(gradient.values, last), indices, gradient.dense_shape)

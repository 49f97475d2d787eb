"""GC404: rows of a sparse gradient are added up by something else than their index, or not at all."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.faults.accumulation.slicing import new_sizes, own_sizes
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.faults.places import at_weight, used_weights
from gradcheck.handoff.split import HandOff
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Found
    from gradcheck.problem.problem import Problem, TensorKey, Weight


class SparseDuplicates(Fault):
    """Assignment in place of a sum: `dense[indices] = values`; or sums of `values` under the indices of one slice."""

    code = "GC404"
    nowhere = "no sparse gradients"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the table of each Embedding layer; then every table, if the model has inputs that may look one up.

        Then the tables whose gradient is added up over micro-batches, or else over segments.
        """
        tables, sizes = list(_tables(problem)), own_sizes(problem)
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
        if sizes:
            yield from _under_one(tables, sizes, "micro-batch")
        else:
            for weight in tables:
                yield from _under_one([weight], (1,) * len(weight.segments), "segment that uses it")

    def injections_over(self, problem: Problem, count: int) -> Iterator[Injection]:
        """Yield the tables whose gradient is added up over `count` micro-batches."""
        for injection in _under_one(list(_tables(problem)), new_sizes(problem, count), "micro-batch"):
            yield replace(injection, slices=count)


def _under_one(tables: Sequence[Weight], sizes: Sequence[int], slice_: str) -> Iterator[Injection]:
    """Yield sums of the values of equal slices under the indices of one, in the order of the backward pass."""
    if len(sizes) < 2 or len(set(sizes)) > 1:  # noqa: PLR2004 - a sum of several
        return
    for weight in tables:
        for which, word in ((0, "first"), (-1, "last")):
            yield Injection(
                code="GC404",
                place=at_weight(weight),
                effect=f"the values that {weight.path} gets were added up under the indices of the {word} {slice_}, "
                f"of {len(sizes)}",
                finish=partial(_added, weight.key, len(sizes), which),
            )


def _added(key: TensorKey, count: int, which: int, found: Found) -> Found:
    """Return the gradient of a weight as the sum of `count` slices under the indices of one of them."""
    gradient = found[key]
    if not isinstance(gradient, tf.IndexedSlices) or gradient.indices.shape[0] % count:
        return {}
    shape = [count, gradient.indices.shape[0] // count]
    values = tf.reduce_sum(tf.reshape(gradient.values, [*shape, *gradient.values.shape[1:]]), 0)
    return {key: tf.IndexedSlices(values, tf.reshape(gradient.indices, shape)[which], gradient.dense_shape)}


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

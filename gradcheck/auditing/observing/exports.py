"""Values from inside compiled functions: what is computed in a graph is kept in variables, and read after each run.

Outputs and signatures of the function stay as they are, and it stays compiled, with XLA too. In a loop inside a
function the values of its last round are kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.handoff.tensors import unseen_variable

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class Export:
    """Tensors of a graph, and what is done with their values after each run."""

    structure: Any
    places: list[Any]
    runs: Any
    then: Callable[[Any, int], None]
    order: int
    seen: int = 0

    def read(self) -> None:
        """Hand over the values if the graph has run since the last time."""
        runs = int(self.runs.numpy())
        if runs != self.seen:
            ran, self.seen = runs - self.seen, runs
            values = [None if place is None else tf.identity(place) for place in self.places]
            self.then(tf.nest.pack_sequence_as(self.structure, values), ran)


@dataclass
class Exports:
    """All that is exported from graphs, in the order of the program; `reads` counts how often it was read."""

    exports: list[Export] = field(default_factory=list)
    reads: int = 0

    def add(self, structure: Any, then: Callable[[Any, int], None], *, order: int) -> None:
        """Export the tensors of a structure from the graph that is being traced.

        Args:
            structure: tensors, sparse rows and None.
            then: called after the graph ran, with the same structure of values, and how often it ran.
            order: the place in the program, as a number that grows.
        """
        structure = tf.nest.map_structure(lambda t: None if t is None else tf.convert_to_tensor(t), structure)
        places: list[Any] = []
        for tensor in tf.nest.flatten(structure):
            place = None if tensor is None else unseen_variable(tensor.dtype)
            if place is not None:
                place.assign(tensor)
            places.append(place)
        with tf.init_scope():
            runs = unseen_variable(tf.int64)
            runs.assign(0)
        runs.assign_add(1)
        self.exports.append(Export(structure, places, runs, then, order))
        self.exports.sort(key=lambda export: export.order)

    def read(self) -> None:
        """Hand over what has been computed since the last time."""
        self.reads += 1
        for export in self.exports:
            export.read()

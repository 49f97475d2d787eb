"""The Jacobian of one tensor with respect to others, a block of rows or columns at a time, contracted at once.

A target of N examples with R elements each, and a source of N examples with C elements each, that do not mix examples,
have the Jacobian J of shape (N, R, C); where they mix, and for weights, the batch is one example. A row is the VJP of a
unit seed, the same for every example; a column the JVP of a unit tangent. Both are contracted with the cotangent c:

    rows:     (c · J)[n, :] = sum over r of c[n, r] J[n, r, :]
    columns:  (c · J)[n, j] = sum over r of c[n, r] J[n, r, j]

so that only one block of J exists at any time. The JVP is the transpose of the VJP, which is linear in its seed: its
own VJP with respect to the seed (Townsend, "A new trick for calculating Jacobian vector products", 2017). It needs no
second forward pass, which would change state and draw other dropout masks. Sums are in float64, so that thousands of
rows lose no digits of their elements.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from gradcheck.handoff.tensors import dense, gradients_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Linearised:
    """A target and its sources on a persistent tape, computed on `copies` of the batch stacked along the first axis.

    `examples` is the number of independent parts of target and sources in one copy: the batch size, or 1.
    """

    tape: tf.GradientTape
    target: Any
    sources: Sequence[Any]
    examples: int
    copies: int = 1

    @property
    def rows(self) -> int:
        """R: elements of the target in one example."""
        return _elements(self.target) // (self.examples * self.copies)

    def columns(self, index: int) -> int:
        """Return C, the elements of source `index` in one example; weights are not stacked."""
        return _elements(self.sources[index]) // (self.examples * self.copies)


class Observer(Protocol):
    """Receives every block of J for source `index`, before it is contracted."""

    def rows(self, index: int, chosen: range, block: Array) -> None:
        """Take J[:, chosen, :] as (rows chosen, examples, C)."""

    def columns(self, index: int, chosen: range, block: Array) -> None:
        """Take J[:, :, chosen] as (columns chosen, examples, R)."""


def by_rows(linear: Linearised, cotangent: Array, observer: Observer | None = None) -> list[Array | None]:
    """Return the product c · J for every source, each of shape (examples, C) in float64; None without a path.

    Args:
        linear: the target and its sources.
        cotangent: c, of shape (examples, R).
        observer: receives each block.
    """
    totals: list[Array | None] = [None] * len(linear.sources)
    for chosen in _blocks(linear.rows, linear.copies):
        seeds = _units(linear, chosen, linear.rows, linear.target)
        found = gradients_of(linear.tape, [linear.target], linear.sources, [seeds])
        for i, rows in enumerate(found):
            if rows is not None:
                block = _block(linear, dense(rows), len(chosen))
                if observer is not None:
                    observer.rows(i, chosen, block)
                part = np.einsum("nk,knc->nc", cotangent[:, chosen], block)
                totals[i] = part if totals[i] is None else totals[i] + part
    return totals


def by_columns(linear: Linearised, cotangent: Array, index: int, observer: Observer | None = None) -> Array | None:
    """Return the product c · J for source `index`, of shape (examples, C) in float64; None without a path.

    Raises:
        LookupError: if an operation's gradient has no gradient of its own; rows then still work.
    """
    push = _pushforward(linear, index)
    if push is None:
        return None
    count, source = linear.columns(index), linear.sources[index]
    parts = []
    for chosen in _blocks(count, linear.copies):
        block = _block(linear, push(_units(linear, chosen, count, source)), len(chosen))
        if observer is not None:
            observer.columns(index, chosen, block)
        parts.append(np.einsum("nr,knr->nk", cotangent, block))
    return np.concatenate(parts, axis=1)


def _units(linear: Linearised, chosen: range, count: int, like: Any) -> Any:
    """Return unit vectors in the shape of `like`: copy k has element `chosen[k]` of `count` set in every example."""
    units = np.zeros((linear.copies, linear.examples, count), np.float32)
    units[np.arange(len(chosen)), :, list(chosen)] = 1  # the last block may leave copies over: zeros
    return tf.cast(tf.reshape(units, like.shape), like.dtype)


def _block(linear: Linearised, tensor: Any, used: int) -> Array:
    """Return a block of J as (copies used, examples, elements) in float64."""
    values = np.asarray(tensor).astype(np.float64)
    return values.reshape(linear.copies, linear.examples, -1)[:used]


def _pushforward(linear: Linearised, index: int) -> Callable[[Any], Any] | None:
    """Return the function from a tangent of source `index` to the target's tangent: the transpose of the VJP."""
    with tf.GradientTape(persistent=True) as outer:
        # The VJP is linear in its seed, so that its derivative is the same at any seed.
        seed = tf.zeros_like(linear.target)
        outer.watch(seed)
        (pulled,) = gradients_of(linear.tape, [linear.target], [linear.sources[index]], [seed])
        pulled = dense(pulled)  # inside the tape, which must record how IndexedSlices become a tensor
    if pulled is None:
        return None

    def push(tangents: Any) -> Any:
        return outer.gradient(pulled, seed, output_gradients=tangents, unconnected_gradients="zero")

    return push


def mixes_examples(linear: Linearised, batch_size: int) -> bool:
    """Whether an example's target depends on another example's sources, measured with random seeds.

    Half of the examples are seeded; a gradient of the rest that is not exactly zero has crossed over.
    """
    tensors = [linear.target, *linear.sources]
    if batch_size == 1:
        return False
    if any(not t.shape.rank or t.shape[0] != batch_size for t in tensors):
        return True
    # Two examples differ in some bit of their numbers, so that some half holds the one without the other. One half of
    # each bit alone would miss a dependence that goes one way.
    bits = [tf.range(batch_size) // 2**bit % 2 == 0 for bit in range((batch_size - 1).bit_length())]
    for seeded in (half for bit in bits for half in (bit, ~bit)):
        noise = tf.cast(
            tf.random.stateless_normal(linear.target.shape, seed=(0, 1), dtype=tf.float32), linear.target.dtype
        )
        seeds = tf.where(_along_batch(seeded, noise), noise, tf.zeros_like(noise))
        for gradient in gradients_of(linear.tape, [linear.target], linear.sources, [seeds]):
            if gradient is not None and bool(tf.reduce_any(tf.boolean_mask(dense(gradient), ~seeded) != 0)):
                return True
    return False


def _along_batch(flags: Any, like: Any) -> Any:
    """Return one flag per example, in a shape that broadcasts over the rest."""
    return tf.reshape(flags, (-1, *([1] * (like.shape.rank - 1))))


def _blocks(count: int, size: int) -> Iterator[range]:
    """Yield the indices from 0 to `count`, at most `size` at a time."""
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


def _elements(tensor: Any) -> int:
    return int(math.prod(tensor.shape))

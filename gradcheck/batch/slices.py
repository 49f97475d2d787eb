"""The slices of a batch (micro-batches), and the factor of each in the loss of the whole batch.

The loss of the whole batch is the weighted sum of the slices' losses. For a mean over the examples a slice is weighted
by its number of examples; for a mean over unmasked elements by their number; for a mean over sample weights by the sum
of those. A sum is the sum of the slices' sums. Losses that layers add, and weight penalties, are weighted by the
slice's share of the examples, so that they count once in all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.endpoints import input_names, packed_inputs
from gradcheck.config.keyed import KeyedError, at
from gradcheck.keras_private import mask_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gradcheck.batch import Batch
    from gradcheck.batch.loss import Loss, Term


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows `start` to `stop` (exclusive) of the batch.

    Attributes:
        batch_size: the number of examples in the whole batch.
        scales: the factor of each term of the slice's loss in the loss of the batch; None for an output without a loss.
    """

    start: int
    stop: int
    batch_size: int
    scales: tuple[float | None, ...]

    @property
    def share(self) -> float:
        """The share of the batch's examples."""
        return (self.stop - self.start) / self.batch_size

    def of(self, tensor: Any) -> Any:
        """Return the rows of `tensor`, which may have several per example; None for None."""
        if tensor is None:
            return None
        # A model that merges axes returns several rows per example, in the order of the examples.
        rows = int(tensor.shape[0]) // self.batch_size
        start, stop = self.start * rows, self.stop * rows
        if isinstance(tensor, tf.SparseTensor):
            # A SparseTensor does not support indexing.
            rest = [0] * (tensor.shape.rank - 1)
            return tf.sparse.slice(tensor, [start, *rest], [stop - start, *tensor.shape[1:]])
        return tensor[start:stop]

    def of_batch(self, batch: Batch) -> Batch:
        """Return the examples of the slice as a batch of their own."""
        weights = batch.sample_weight
        return replace(
            batch,
            x=tuple(map(self.of, batch.x)),
            y=tuple(map(self.of, batch.y)),
            sample_weight=None if weights is None else tuple(map(self.of, weights)),
        )


def make_slices(count: int, model: keras.Model, batch: Batch, loss: Loss, *, training: bool) -> tuple[Slice, ...]:
    """Return `count` slices of ceil(batch / count) examples; the last one is shorter, or left out if it is empty.

    The model is run once if the loss may be a mean over unmasked elements; its state is not restored.

    Raises:
        KeyedError: GC030 if the model or the batch cannot be sliced.
    """
    batch_size = batch.size
    with at("microbatches"):
        _check(count, model, batch, batch_size)
    size = math.ceil(batch_size / count)
    bounds = [*range(0, batch_size, size), batch_size]
    counted = _counted(model, batch, loss, training=training)
    scales = [_scales(term, number, bounds) for term, number in zip(loss.weighed, counted, strict=True)]
    return tuple(
        Slice(start=start, stop=stop, batch_size=batch_size, scales=of_slice)
        for (start, stop), of_slice in zip(pairwise(bounds), zip(*scales, strict=True), strict=True)
    )


def sliceable(model: keras.Model, batch: Batch) -> bool:
    """Whether the batch can be sliced at all."""
    try:
        _check(1, model, batch, batch.size)
    except KeyedError:
        return False
    return True


def _check(count: int, model: keras.Model, batch: Batch, batch_size: int) -> None:
    """Raise if the batch cannot be sliced along the first axis."""
    if count > batch_size:
        raise _unfit(
            f"{count} micro-batches of a batch of {batch_size}", "raise data.batch_size, or lower microbatches"
        )
    for name, tensor in zip(input_names(model), keras.tree.flatten(model.inputs), strict=True):
        if tensor.shape[0] is not None:
            raise _unfit(
                f"input {name} of the fixed shape {tuple(tensor.shape)}", "build the model without a batch size"
            )
    for kind, tensors in (("target", batch.y), ("sample weight", batch.sample_weight or ())):
        for tensor in tensors:
            if tensor is not None and (not tensor.shape.rank or int(tensor.shape[0]) % batch_size):
                raise _unfit(
                    f"a {kind} of shape {tuple(tensor.shape)} for {batch_size} examples",
                    "micro-batches need outputs with the batch axis first",
                )


def _unfit(received: str, help: str) -> KeyedError:  # noqa: A002 - the error's name for it
    return KeyedError(f"the batch cannot be sliced. Received: {received}", code="GC030", help=help)


def _counted(model: keras.Model, batch: Batch, loss: Loss, *, training: bool) -> list[NDArray[Any] | None]:
    """Return the weight of each row in each term's mean, of shape (rows, ...); None if all rows weigh the same."""
    averaging = [term is not None and term.keras_loss is not None for term in loss.terms]
    outputs: Sequence[Any] = [None] * len(loss.terms)
    if any(averaging):
        # On the whole batch, for the masks: they depend on the inputs, and some are made by layers.
        outputs = keras.tree.flatten(model(packed_inputs(model, batch.x), training=training))
    weights = batch.sample_weight or (None,) * len(loss.terms)
    return [
        None if term is None or term.keras_loss is None else _weighed(term, term.keras_loss, y, output, weight)
        for term, y, output, weight in zip(loss.terms, batch.y, outputs, weights, strict=True)
    ]


def _weighed(term: Term, loss: keras.losses.Loss, y: Any, output: Any, sample_weight: Any) -> NDArray[Any] | None:
    """Return the numbers whose sum Keras divides a mean by: the mask, the sample weights, or both."""
    if loss.reduction in {None, "none"}:
        return None  # averaged in `Term.function`, over all elements
    mask = _mask(loss, y, output)
    if term.reduction == "mean":
        return mask
    if term.reduction != "mean_with_sample_weight" or sample_weight is None:
        return mask if term.reduction == "mean_with_sample_weight" else None
    weight = np.asarray(sample_weight, np.float64)
    if mask is None:
        return weight
    # As Keras does: trailing axes, so that a weight per example applies to all of its elements.
    rank = max(mask.ndim, weight.ndim)
    weight, mask = (a.reshape(*a.shape, *[1] * (rank - a.ndim)) for a in (weight, mask))
    return np.asarray(weight * mask)


def _mask(loss: keras.losses.Loss, y: Any, output: Any) -> NDArray[Any] | None:
    """Return the mask that Keras applies to the loss's values: the output's, and the loss's own (`ignore_class`)."""
    made = loss.call(y, output) if getattr(loss, "ignore_class", None) is not None else None
    masks = [mask_of(tensor) for tensor in (output, made) if tensor is not None]
    arrays = [np.asarray(mask).astype(np.float64) for mask in masks if mask is not None]
    return np.asarray(math.prod(arrays)) if arrays else None


def _scales(term: Term | None, counted: NDArray[Any] | None, bounds: Sequence[int]) -> list[float | None]:
    """Return the factor of `term` in each slice."""
    slices, batch_size = list(pairwise(bounds)), bounds[-1]
    if term is None:
        return [None] * len(slices)
    # A sum over the batch is the plain sum over the slices, whatever their sizes.
    if term.reduction == "sum":
        return [1.0] * len(slices)
    shares: list[float | None] = [(stop - start) / batch_size for start, stop in slices]
    if counted is None:
        return shares
    rows = len(counted) // batch_size
    sums = [float(counted[start * rows : stop * rows].sum()) for start, stop in slices]
    # If everything is masked the loss is 0 whatever the factors; they must not be 0 / 0.
    return [part / sum(sums) for part in sums] if sum(sums) else shares

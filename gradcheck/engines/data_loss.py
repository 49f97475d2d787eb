"""The data loss of a model under any backend: as `batch.loss` computes it, in operations of Keras."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from gradcheck.keras_private import hidden_copied

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck.engines.question import SentLoss, SentTerm


def data_loss(
    loss: SentLoss,
    outputs: Sequence[Any],
    batch: Mapping[str, Any],
    scales: Sequence[float | None] | None,
    packed: Callable[[Sequence[Any]], Any],
) -> Any:
    """Return the weighted sum of the terms.

    Args:
        loss: the terms.
        outputs: of the model, in order.
        batch: `y` and `sample_weight` by output; the latter may be None.
        scales: the factor of each term for a slice of the batch; None for a whole one.
        packed: gives a list by output the structure that the model returns.
    """
    y, sample_weight = batch["y"], batch["sample_weight"]
    weights = [None] * len(outputs) if sample_weight is None else list(sample_weight)
    if loss.joint is not None:
        given = [_in_dtype(output, loss.dtype) for output in outputs]
        more = _weight(loss.joint.loss, None if sample_weight is None else packed(weights))
        found = ops.cast(loss.joint.loss(packed(list(y)), packed(given), **more), loss.dtype)
        return found if scales is None else (scales[0] or 0.0) * found
    total = ops.zeros((), loss.dtype)
    for i, term in enumerate(loss.terms):
        if term is not None:
            factor = term.weight if scales is None else term.weight * (scales[i] or 0.0)
            total = total + factor * ops.cast(_of_output(term, loss.dtype, y[i], outputs[i], weights[i]), loss.dtype)
    return total


def _of_output(term: SentTerm, dtype: str, y: Any, output: Any, sample_weight: Any) -> Any:
    """Return the loss on one output as a scalar."""
    if term.loss is None:
        return _random_cotangent(dtype, y, output, sample_weight)
    if isinstance(term.loss, keras.losses.Loss):
        return ops.mean(term.loss(y, output, sample_weight))
    output = _in_dtype(output, dtype)
    if "sample_weight" in _parameters(term.loss):
        return ops.mean(term.loss(y, output, sample_weight=sample_weight))
    values = term.loss(y, output)
    return values if len(values.shape) == 0 else _Average(name="loss", dtype=dtype)(values, output, sample_weight)


def _random_cotangent(dtype: str, y: Any, output: Any, sample_weight: Any) -> Any:
    product = ops.cast(y, dtype) * ops.cast(output, dtype)
    if sample_weight is not None:
        rank = len(product.shape) - len(sample_weight.shape)
        product = product * ops.reshape(ops.cast(sample_weight, dtype), (*sample_weight.shape, *[1] * rank))
    return ops.sum(product)


def _in_dtype(output: Any, dtype: str) -> Any:
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(output.dtype)):
        return output
    return hidden_copied(output, ops.cast(output, dtype))


def _weight(function: Callable[..., Any], given: Any) -> dict[str, Any]:
    return {"sample_weight": given} if "sample_weight" in _parameters(function) else {}


def _parameters(function: Callable[..., Any]) -> Any:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin has none
        return ()


class _Average(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """The mean of values that are already computed, with Keras's treatment of weights and of the output's mask."""

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002 - the output is there for its mask
        return y_true

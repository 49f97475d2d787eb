"""`factory`: the user's own function that returns a batch; or a batch that was handed over from Python."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.batch.raw import RawBatch, inputs_by_name, outputs_by_name
from gradcheck.building import user_code
from gradcheck.building.endpoints import input_names, output_names
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.config.sections.live import LiveData

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.batch.raw import Request
    from gradcheck.config.sections.data import DataConfig

_PAIR, _TRIPLE = 2, 3


def load(request: Request) -> RawBatch:
    """Return the function's (x, y) or (x, y, sample_weight), each an array, one per name, or None for the default.

    Raises:
        KeyedError: GC028 if there is no such function; GC030 if the arrays do not fit the model.
        RunError: GC052 if it raises, or returns something else.
    """
    batch = called(request.config, request.base)
    with at("factory"):
        return _raw(batch, request)


def given(request: Request) -> RawBatch:
    """Return the arrays of `LiveData`.

    Raises:
        KeyedError: GC030 if the arrays do not fit the model.
    """
    if not isinstance(request.config, LiveData):
        raise TypeError(f"not live data: {type(request.config).__name__}")
    raw = _raw(request.config.live, request)
    likes = dict(zip(input_names(request.model), request.model.inputs, strict=True))
    return replace(raw, inputs={name: _with_last_axis(value, likes[name]) for name, value in raw.inputs.items()})


def _with_last_axis(value: Any, like: Any) -> Any:
    """Return an array with an axis of length 1 more if the input has one, as a Keras model adds it."""
    lacks_it = isinstance(value, np.ndarray) and value.ndim == len(like.shape) - 1 and like.shape[-1] == 1
    return value[..., np.newaxis] if lacks_it else value


def _raw(batch: tuple[Any, Any, Any], request: Request) -> RawBatch:
    """Return x, y and sample weight by the names of inputs and outputs."""
    x, y, weight = batch
    return RawBatch(
        inputs={} if x is None else inputs_by_name(x, request.model),
        targets={} if y is None else outputs_by_name(y, request.model),
        weights=_weights(weight, request),
    )


def called(config: DataConfig, base: Path) -> tuple[Any, Any, Any]:
    """Return x, y and sample weights as the function returns them; errors are those of `load`."""
    reference = config.factory or ""
    with at("factory"):
        function = user_code.load(reference, base, code="GC052")
        with user_code.calling("data factory", reference, "GC052", base):
            returned = function(**copy.deepcopy(config.kwargs))
        return _unpacked(returned, reference)


def _unpacked(returned: Any, reference: str) -> tuple[Any, Any, Any]:
    if isinstance(returned, (tuple, list)) and len(returned) in (_PAIR, _TRIPLE):
        return (*returned, None) if len(returned) == _PAIR else tuple(returned)
    kind = type(returned).__name__ + (f" of {len(returned)}" if isinstance(returned, (tuple, list)) else "")
    message = f"data factory {reference} must return (x, y) or (x, y, sample_weight). Received: a {kind}"
    raise KeyedRunError(message, code="GC052")


def _weights(weight: Any, request: Request) -> dict[str, Any]:
    """Return the weights by output; a single array is used for all outputs."""
    if weight is None:
        return {}
    if isinstance(weight, (dict, list, tuple)):
        return outputs_by_name(weight, request.model)
    return dict.fromkeys(output_names(request.model), np.asarray(weight))

"""Arrays checked against a model's inputs and outputs, and converted to tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.batch.composite import dense, described_values, first_rows_of, is_composite, with_values
from gradcheck.building.precision import loss_dtype
from gradcheck.config.keyed import KeyedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck.batch.composite import Values


def fit_input(name: str, array: Values, like: Any, batch_size: int) -> Any:
    """Return the first `batch_size` rows of `array` in the dtype of `like`, the model's symbolic input.

    Raises:
        KeyedError: GC030 if the shape, the number of rows or the kind of numbers does not fit.
    """
    expected, given = tuple(like.shape), tuple(array.shape)
    fits = len(given) == len(expected) and all(
        want is None or want == got for want, got in zip(expected[1:], given[1:], strict=True)
    )
    if not fits:
        received = described_values(array) if is_composite(array) else given
        raise KeyedError(f"input {name} takes shape {_with_batch(expected)}. Received: {received}", code="GC030")
    what, dtype = f"input {name}", str(like.dtype)
    if is_composite(array):
        array = first_rows_of(what, array, batch_size, sparse=bool(like.sparse))
    if is_composite(array):
        return with_values(array, lambda values: _cast(what, values, dtype))
    return _cast(what, first_rows(what, array, batch_size), dtype)


def fit_target(name: str, array: Values, count: int | None, *, keep_integers: bool) -> tf.Tensor:
    """Return the first `count` rows of a target: in the loss's floating dtype, or as integers if it takes them.

    `count` is the first axis of the output, which need not be the batch; None for a scalar output.
    """
    what = f"the target of output {name}"
    rows = dense(what, array) if count is None else first_rows(what, dense(what, array), count)
    is_integer = rows.dtype.kind in "iu"
    return _cast(what, rows, "int32" if keep_integers and is_integer else loss_dtype())


def fit_weight(name: str, array: Values, batch_size: int) -> tf.Tensor:
    """Return the first `batch_size` sample weights in the dtype of the loss."""
    what = f"the sample weight of output {name}"
    return _cast(what, first_rows(what, dense(what, array), batch_size), loss_dtype())


def first_rows(what: str, array: NDArray[Any], batch_size: int) -> NDArray[Any]:
    """Return the first `batch_size` rows.

    Raises:
        KeyedError: GC030 if there are fewer.
    """
    if array.ndim == 0 or len(array) < batch_size:
        rows = "a scalar" if array.ndim == 0 else f"{len(array)} rows"
        help_ = "lower data.batch_size, or give more data"
        raise KeyedError(f"batch_size is {batch_size}. Received: {rows} for {what}", code="GC030", help=help_)
    return array[:batch_size]


def _cast(what: str, array: NDArray[Any], dtype: str) -> tf.Tensor:
    """Cast `array` to `dtype`; raise if that would lose a fraction, a sign or text."""
    is_text, is_complex = _is_text(array), array.dtype.kind == "c"
    if array.dtype.kind == "O" and not is_text:
        raise KeyedError(f"{what} takes {dtype}. Received: objects that are not all text", code="GC030")
    if is_text != (dtype == "string") or (is_complex and not dtype.startswith("complex")):
        raise KeyedError(f"{what} takes {dtype}. Received: {array.dtype}", code="GC030")
    if dtype == "string":
        return tf.constant(array, tf.string)
    if "int" in dtype and not _holds(array, dtype):
        message = f"{what} takes {dtype}. Received: {array.dtype} from {array.min()} to {array.max()}"
        raise KeyedError(message, code="GC030", help="integers within its range are needed")
    return tf.cast(tf.constant(array), dtype)


def _is_text(array: NDArray[Any]) -> bool:
    """Whether `array` holds text or bytes alone; an object array is checked value by value."""
    return array.dtype.kind in "US" or (
        array.dtype.kind == "O" and all(isinstance(v, (str, bytes)) for v in array.flat)
    )


def _holds(array: NDArray[Any], dtype: str) -> bool:
    """Whether integer `dtype` can represent every value of `array`."""
    limits = np.iinfo(dtype)
    values = array.astype(np.float64) if array.dtype.kind == "V" else array  # bfloat16 is a void type to NumPy
    whole = values.dtype.kind in "iub" or bool(np.all(np.mod(values, 1) == 0))
    return whole and (values.size == 0 or bool(values.min() >= limits.min and values.max() <= limits.max))


def _with_batch(shape: tuple[int | None, ...]) -> str:
    return f"(batch, {', '.join('any' if n is None else str(n) for n in shape[1:])})"

"""The functions of losses: the random cotangent, and the user's own, of one output, of all of them, or of the model."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building import user_code
from gradcheck.building.endpoints import output_names
from gradcheck.building.precision import loss_dtype
from gradcheck.config.keyed import KeyedError, KeyedRunError, at
from gradcheck.config.sections.loss import canonical_name
from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.config.sections.loss import LossSpec

_WITH_MODEL = "a loss that needs the inputs or the model is a function (model, x, y): `loss: {of_model: ...}`"
_CALLED = "a loss is called once for each output, as f(y, output)"


def random_cotangent(y: Any, output: Any, sample_weight: Any = None) -> tf.Tensor:
    """Return the sum of y * output, whose gradient with respect to `output` is `y`, a fixed random cotangent.

    A mean or a cross-entropy can have a zero gradient behind a normalising layer; a random cotangent has none. It is
    computed in float32, or in float64 if the output is.

    The real and the imaginary parts of a complex output have a cotangent each: those of a complex y, or y and sin(5 y +
    1), so that a mistake in one part cannot cancel in the other.

    Args:
        y: of the output's shape.
        output: of any shape with the batch axis first.
        sample_weight: None, or factors of shape (batch,) or of more leading axes of the output.
    """
    dtype = tf.float64 if output.dtype in (tf.float64, tf.complex128) else tf.float32
    if output.dtype.is_complex:
        real, imaginary = (tf.math.real(y), tf.math.imag(y)) if y.dtype.is_complex else (y, tf.sin(5 * y + 1))
        product = tf.cast(real, dtype) * tf.cast(tf.math.real(output), dtype)
        product += tf.cast(imaginary, dtype) * tf.cast(tf.math.imag(output), dtype)
    else:
        product = tf.cast(y, dtype) * tf.cast(output, dtype)
    if sample_weight is not None:
        weight = tf.cast(sample_weight, dtype)
        product *= tf.reshape(weight, [*weight.shape, *[1] * (product.shape.rank - weight.shape.rank)])
    return tf.reduce_sum(product)


#: Losses of a softmax over classes: of a single class every gradient is zero.
_OF_CLASSES = frozenset({"categoricalcrossentropy", "categoricalfocalcrossentropy", "sparsecategoricalcrossentropy"})


def check_classes(spec: LossSpec | None, model: keras.Model, index: int) -> None:
    """Raise for a loss over classes on an output of one class.

    Raises:
        KeyedError: GC031.
    """
    if spec is None or canonical_name(spec.name) not in _OF_CLASSES:
        return
    shape, axis = tuple(model.outputs[index].shape), spec.kwargs.get("axis", -1)
    if isinstance(axis, int) and -len(shape) <= axis < len(shape) and shape[axis] == 1:
        message = (
            f"{spec.name} needs one unit a class, and with a single class every gradient is zero. "
            f"Received: output {output_names(model)[index]} of shape {shape}"
        )
        raise KeyedError(message, code="GC031", help="take BinaryCrossentropy, or an output of two units or more")


def from_factory(spec: LossSpec, base: Path) -> Any:
    """Return the result of the user's factory: a Keras loss, or a function.

    Raises:
        RunError: GC053 if the factory raises, or returns no function.
    """
    reference = spec.factory or ""
    try:
        loss = user_code.made_by("loss factory", reference, base, "GC053", spec.kwargs)
    except KeyedRunError as error:
        if error.keys == ("factory",):
            error.help = f"a loss factory returns the function (y, output); {_WITH_MODEL}"
        raise
    if not callable(loss):
        called = "(all targets, all outputs)" if spec.joint else "(y, output)"
        message = f"loss factory {reference} must return a function {called}. Received: a {type(loss).__name__}"
        raise KeyedRunError(message, code="GC053")
    if not isinstance(loss, keras.losses.Loss) and not _takes_two(loss):
        takes = f"a function of ({', '.join(parameters(loss))})"
        message = f"loss factory {reference} must return a function of two, targets and output. Received: {takes}"
        with at("factory"):
            raise KeyedRunError(message, code="GC053", help=_WITH_MODEL)
    return loss


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with targets and output, and weights by name; yes if nothing is known of it."""
    weight = {"sample_weight": None} if "sample_weight" in parameters(function) else {}
    try:
        inspect.signature(function).bind(None, None, **weight)
    except TypeError:
        return False
    except ValueError:  # a builtin has no signature
        return True
    return True


def of_output(loss: Callable[..., Any], *, name: str, alone: bool) -> Callable[[Any, Any, Any], Any]:
    """Wrap a function (y, output): a scalar is the loss, a value per example is averaged as in Keras.

    Args:
        loss: the function, which may also take `sample_weight`.
        name: what the config calls it.
        alone: whether the model has no other output. An error says otherwise that there is one call for each of them.
    """
    takes_weight = "sample_weight" in parameters(loss)
    # Keras's own averaging, with its treatment of sample weights and masks.
    average = _Average(name="loss", dtype=loss_dtype())

    def function(y: Any, output: Any, sample_weight: Any) -> Any:
        output = _in_loss_dtype(output)
        if takes_weight:
            return tf.reduce_mean(loss(y, output, sample_weight=sample_weight))
        values = tf.convert_to_tensor(loss(y, output))
        if values.shape.rank == 0:
            if sample_weight is not None:
                raise ValueError("a loss that returns a scalar cannot be weighted: give it a sample_weight argument")
            return values
        return average(values, output, sample_weight)

    return function if alone else partial(_one_of_several, function, name)


def _one_of_several(function: Callable[[Any, Any, Any], Any], name: str, y: Any, output: Any, weight: Any) -> Any:
    """Call the loss of one output; if it raises, say that there is one call for each output."""
    try:
        with user_code.calling("loss", name, "GC053"):
            return function(y, output, weight)
    except RunError as error:
        if error.code == "GC053" and error.help is None:
            error.help = f"{_CALLED}; `loss: {{factory: ..., joint: true}}` calls it once, with all targets and outputs"
        raise


def of_all_outputs(loss: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """Wrap a function (all targets, all outputs), each in the structure of the model's outputs, to a scalar."""
    takes_weight = "sample_weight" in parameters(loss)

    def function(y: Any, outputs: Any, sample_weight: Any) -> Any:
        weight = _weight(sample_weight, takes_it=takes_weight)
        return _scalar(loss(y, keras.tree.map_structure(_in_loss_dtype, outputs), **weight), "a joint loss")

    return function


def of_model(spec: LossSpec, base: Path) -> Callable[..., Any]:
    """Return the user's function as one of (model, x, y, sample_weight, training) to a scalar in the loss's dtype.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC053 if its file raises, or it is no function.
    """
    reference = spec.of_model or ""
    with at("of_model"):
        loss = user_code.load(reference, base, code="GC053")
        if not callable(loss):
            message = f"{reference} must be a function (model, x, y). Received: a {type(loss).__name__}"
            raise KeyedRunError(message, code="GC053")
    taken = parameters(loss)

    def function(model: Any, x: Any, y: Any, sample_weight: Any, training: bool) -> Any:  # noqa: FBT001 - as Keras's
        with user_code.calling("loss", reference, "GC053", base):
            more = _weight(sample_weight, takes_it="sample_weight" in taken)
            if "training" in taken:
                more["training"] = training
            return _scalar(loss(model, x, y, **more, **spec.kwargs), f"the loss {reference}")

    return function


def parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a function by name; none of a builtin, which has no signature."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _weight(sample_weight: Any, *, takes_it: bool) -> dict[str, Any]:
    """Return the argument `sample_weight` of a function that takes it."""
    given = sample_weight is not None and any(w is not None for w in keras.tree.flatten(sample_weight))
    if given and not takes_it:
        raise ValueError("a loss that returns a scalar cannot be weighted: give it a sample_weight argument")
    return {"sample_weight": sample_weight} if takes_it else {}


def _scalar(value: Any, what: str) -> Any:
    """Return a scalar in the loss's dtype."""
    shape: Sequence[Any] = getattr(value, "shape", None) or ()
    if value is None or len(shape):
        received = "None" if value is None else f"shape {tuple(shape)}"
        raise ValueError(f"{what} returns a scalar. Received: {received}")
    return tf.cast(value, loss_dtype())


def _in_loss_dtype(output: Any) -> Any:
    """Return an output as Keras gives it to a loss function: in the dtype of losses."""
    if not output.dtype.is_floating or output.dtype == loss_dtype():
        return output
    return tf.cast(output, loss_dtype())


class _Average(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """The mean of values that are already computed, with Keras's treatment of weights and of the output's mask."""

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002 - the output is there for its mask
        return y_true

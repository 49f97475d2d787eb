"""The loss of a config: one term per output, weighted and summed to a scalar."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building import user_code
from gradcheck.building.endpoints import flat_values, output_names, output_positions
from gradcheck.building.messages import described
from gradcheck.building.precision import loss_dtype
from gradcheck.config.keyed import KeyedError, KeyedRunError, arguments_received, at
from gradcheck.config.sections.live import LiveLoss
from gradcheck.config.sections.loss import RANDOM_COTANGENT, LossSpec
from gradcheck.cutting.tensor_copies import copied
from gradcheck.keras_private import loss_computing_in
from gradcheck.phrases import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.config.sections.loss import Losses

__all__ = ["RANDOM_COTANGENT", "Loss", "Term", "build_loss", "canonical_name", "output_names", "specs_by_output"]

#: Short names that Keras accepts, in their long form.
_ALIASES = {
    "bce": "binarycrossentropy",
    "kld": "kldivergence",
    "mae": "meanabsoluteerror",
    "mape": "meanabsolutepercentageerror",
    "mse": "meansquarederror",
    "msle": "meansquaredlogarithmicerror",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Term:
    """The loss on one output.

    Attributes:
        name: its name in the config.
        function: called with (y, output, sample_weight or None); returns a scalar.
        weight: its factor in the sum.
        reduction: over the batch: `mean` (over unmasked elements), `mean_with_sample_weight`, `sum`, or None if the
            user's own function decides.
        keras_loss: the Keras loss that `function` calls, if it is one.
        compiled: the loss as `compile` takes it, a Keras loss or a function of (y, output); None if it takes none such.
    """

    name: str
    function: Callable[[Any, Any, Any], Any]
    weight: float
    reduction: str | None
    keras_loss: keras.losses.Loss | None = None
    compiled: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """The data loss: the weighted sum of its terms, without the losses that layers add.

    Attributes:
        terms: one per output of the model; None for an output without a loss.
        positions: the index of an output by name, for values given as a mapping.
        dtype: of the sum: float64 if that is the precision, else float32.
    """

    terms: tuple[Term | None, ...]
    positions: Mapping[str, int]
    dtype: str

    def __call__(
        self, y: Any, outputs: Any, sample_weight: Any = None, scales: Sequence[float | None] | None = None
    ) -> tf.Tensor:
        """Return the scalar loss, differentiable with respect to `outputs`.

        Args:
            y: targets, one per output: a tensor, a list or tuple in the order of the outputs, or a mapping by name.
            outputs: the model's outputs, likewise. Their Keras masks are applied, and the logits that Keras sets on the
                output of a softmax or sigmoid are used in its place.
            sample_weight: None, or weights likewise; None for single outputs too.
            scales: for a slice of the batch, the factor of each term; None for the whole batch.

        Raises:
            ValueError, KeyError: if the number or the names of the tensors are not those of the outputs.
        """
        count = len(self.terms)
        targets = flat_values(y, self.positions, count)
        values = flat_values(outputs, self.positions, count)
        weights = [None] * count if sample_weight is None else flat_values(sample_weight, self.positions, count)
        total = tf.zeros((), self.dtype)
        for i, (term, target, value, weight) in enumerate(zip(self.terms, targets, values, weights, strict=True)):
            if term is not None:
                # In a graph Keras would look for the softmax behind the tensor; a copy has only the logits set on it.
                found = tf.cast(term.function(target, copied(value), weight), self.dtype)
                factor = term.weight if scales is None else term.weight * (scales[i] or 0.0)
                total += factor * found
        return total


def build_loss(
    config: Losses,
    loss_weights: Sequence[float] | Mapping[str, float] | None,
    model: keras.Model,
    *,
    base: Path,
    seed: int,  # noqa: ARG001 - in the interface for losses that draw numbers; today's targets carry the random cotangent
) -> Loss:
    """Build the loss that `config` describes, for the outputs of `model`. Call it inside `precision_scope`.

    Args:
        config: one loss for every output, one per output in order, or a mapping by output name; outputs that a mapping
            leaves out have no loss.
        loss_weights: factors likewise; 1 for an output without one.
        model: the whole model.
        base: the folder that the user's own losses are relative to.
        seed: the config's seed.

    Raises:
        KeyedError: GC020 for an unknown loss, GC031 if names, counts or arguments do not fit.
        RunError: GC053 if the user's factory raises or returns no function.
    """
    specs = specs_by_output(config, model)
    weights = _weights(loss_weights, model)
    terms = []
    for spec, weight, keys in zip(specs, weights, _keys(config, model), strict=True):
        with at("loss", *keys):
            terms.append(None if spec is None else _term(spec, weight, base))
    return Loss(terms=tuple(terms), positions=output_positions(model), dtype=loss_dtype())


def specs_by_output(config: Losses, model: keras.Model) -> tuple[LossSpec | None, ...]:
    """Return the loss of each output in the order of `model.outputs`; None for an output without one.

    Raises:
        KeyedError: GC031 if the number or a name does not fit the outputs.
    """
    if isinstance(config, LossSpec):
        return (config,) * len(model.outputs)
    with at("loss"):
        return tuple(_one_per_output(config, model, "loss"))


def _keys(config: Losses, model: keras.Model) -> list[tuple[str | int, ...]]:
    """Return the keys of each output's loss below `loss`."""
    if isinstance(config, LossSpec):
        return [()] * len(model.outputs)
    if not isinstance(config, dict):
        return [(index,) for index in range(len(config))]
    names = _one_per_output({name: name for name in config}, model, "loss")
    return [() if name is None else (name,) for name in names]


def _weights(loss_weights: Sequence[float] | Mapping[str, float] | None, model: keras.Model) -> list[float]:
    if loss_weights is None:
        return [1.0] * len(model.outputs)
    with at("loss_weights"):
        given = _one_per_output(loss_weights, model, "loss weight")
    return [1.0 if weight is None else weight for weight in given]


def _one_per_output(values: Any, model: keras.Model, what: str) -> list[Any]:
    """Return `values`, a sequence or a mapping by name, in the order of the outputs; None for names left out."""
    positions, names = output_positions(model), output_names(model)
    try:
        return flat_values(values, positions, len(names))
    except ValueError as error:
        message = f"{len(values)} of {what} for {len(names)} outputs ({listed(names)})"
        raise KeyedError(message, code="GC031", help="give one each, or a mapping by output name") from error
    except KeyError as error:
        (name,) = error.args
        help_ = did_you_mean(name, positions, f"the outputs are: {listed(names)}")
        unknown = KeyedError(f"no output is called {name}", code="GC031", help=help_)
        unknown.keys = (name,)
        raise unknown from error


def canonical_name(spec: LossSpec) -> str:
    """Return a Keras loss's name in one spelling: `meansquarederror` for `MSE`, "" for a factory."""
    name = (spec.name or "").replace("_", "").lower()
    return _ALIASES.get(name, name)


def _term(spec: LossSpec, weight: float, base: Path) -> Term:
    if spec.name == RANDOM_COTANGENT:
        if spec.kwargs:
            received = arguments_received(spec.kwargs)
            raise KeyedError(f"{RANDOM_COTANGENT} takes no arguments. Received: {received}", code="GC031")
        return Term(name=spec.name, function=random_cotangent, weight=weight, reduction="sum")
    if isinstance(spec, LiveLoss):
        loss = loss_computing_in(spec.made, loss_dtype())
    else:
        loss = _from_factory(spec, base) if spec.factory else _keras_loss(spec)
    if isinstance(loss, keras.losses.Loss):
        reduction = _reduction(loss)
        function = _scalar(loss)
        given = loss if loss.reduction not in {None, "none"} else None
        return Term(
            name=_label(spec), function=function, weight=weight, reduction=reduction, keras_loss=loss, compiled=given
        )
    given = None if "sample_weight" in _parameters(loss) else loss
    return Term(name=_label(spec), function=_own(loss), weight=weight, reduction=None, compiled=given)


def _label(spec: LossSpec) -> str:
    return spec.name or spec.factory or ""


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


def _keras_loss(spec: LossSpec) -> keras.losses.Loss:
    """Construct a Keras loss by the name of its class."""
    classes = {
        canonical_name(LossSpec(name=name)): value
        for name, value in vars(keras.losses).items()
        if inspect.isclass(value) and issubclass(value, keras.losses.Loss) and value is not keras.losses.Loss
    }
    found = classes.get(canonical_name(spec))
    if found is None:
        known = [RANDOM_COTANGENT, *(value.__name__ for value in classes.values())]
        help_ = did_you_mean(spec.name or "", known, "for a loss of your own, write {factory: ./loss.py:make}")
        raise KeyedError(f"no Keras loss is called {spec.name}", code="GC020", help=help_)
    try:
        # Explicitly: Keras reads the default dtype when a loss is constructed, not when it is called.
        return found(**{"dtype": loss_dtype(), **spec.kwargs})
    except Exception as error:
        received = arguments_received(spec.kwargs)
        raise KeyedError(f"{spec.name}: {described(error)}. Received: {received}", code="GC031") from error


def _from_factory(spec: LossSpec, base: Path) -> Any:
    """Return the result of the user's factory: a Keras loss, or a function (y, output)."""
    reference = spec.factory or ""
    loss = user_code.made_by("loss factory", reference, base, "GC053", spec.kwargs)
    if not callable(loss):
        message = f"loss factory {reference} must return a function (y, output). Received: a {type(loss).__name__}"
        raise KeyedRunError(message, code="GC053")
    return loss


def _reduction(loss: keras.losses.Loss) -> str:
    """Return the reduction in the terms of `Term`; unreduced values are averaged here."""
    return {"sum": "sum", "mean_with_sample_weight": "mean_with_sample_weight"}.get(str(loss.reduction), "mean")


def _scalar(loss: keras.losses.Loss) -> Callable[[Any, Any, Any], Any]:
    """Return `loss` as a function to a scalar; values that it does not reduce are averaged."""

    def function(y: Any, output: Any, sample_weight: Any) -> Any:
        return tf.reduce_mean(loss(y, output, sample_weight))

    return function


def _own(loss: Callable[..., Any]) -> Callable[[Any, Any, Any], Any]:
    """Wrap the user's own function: a scalar is the loss, a value per example is averaged as in Keras."""
    takes_weight = "sample_weight" in _parameters(loss)
    # Keras's own averaging, with its treatment of sample weights and masks.
    average = _Average(name="loss", dtype=loss_dtype())

    def function(y: Any, output: Any, sample_weight: Any) -> Any:
        if output.dtype.is_floating and output.dtype != loss_dtype():
            output = tf.cast(output, loss_dtype())  # as Keras does before it calls a loss function
        if takes_weight:
            return tf.reduce_mean(loss(y, output, sample_weight=sample_weight))
        values = tf.convert_to_tensor(loss(y, output))
        if values.shape.rank == 0:
            if sample_weight is not None:
                raise ValueError("a loss that returns a scalar cannot be weighted: give it a sample_weight argument")
            return values
        return average(values, output, sample_weight)

    return function


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin has no signature
        return {}


class _Average(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """The mean of values that are already computed, with Keras's treatment of weights and of the output's mask."""

    def call(self, y_true: Any, y_pred: Any) -> Any:  # noqa: ARG002 - the output is there for its mask
        return y_true

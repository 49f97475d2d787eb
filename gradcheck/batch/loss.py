"""The loss of a config: one term per output, weighted and summed to a scalar, or one function in place of the terms."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.batch.loss_functions import (
    check_classes,
    from_factory,
    of_all_outputs,
    of_model,
    of_output,
    parameters,
    random_cotangent,
)
from gradcheck.building.endpoints import (
    flat_values,
    output_names,
    output_positions,
    packed_inputs,
    packed_outputs,
)
from gradcheck.building.messages import described
from gradcheck.building.precision import loss_dtype
from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.config.keyed import KeyedError, arguments_received, at
from gradcheck.config.sections.live import LiveLoss
from gradcheck.config.sections.loss import RANDOM_COTANGENT, LossSpec
from gradcheck.config.sections.loss import canonical_name as canonical
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import loss_computing_in
from gradcheck.phrases import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.config.sections.loss import Losses

__all__ = ["RANDOM_COTANGENT", "Loss", "Term", "build_loss", "canonical_name", "output_names", "specs_by_output"]


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
        own: the Keras loss, or the user's function, that `function` calls; None for the random cotangent.
    """

    name: str
    function: Callable[[Any, Any, Any], Any]
    weight: float
    reduction: str | None
    keras_loss: keras.losses.Loss | None = None
    compiled: Any = None
    own: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Loss:
    """The data loss: the weighted sum of its terms, without the losses that layers add.

    Attributes:
        terms: one per output of the model; None for an output without a loss, and for all if one function is the loss.
        positions: the index of an output by name, for values given as a mapping.
        dtype: of the sum: float64 if that is the precision, else float32.
        packed: from one value per output, in order, to the structure that the model returns.
        joint: one term over all outputs in place of `terms`: its function takes targets, outputs and weights packed.
        of_model: the loss as a function (model, x, y, sample_weight, training) that calls the model itself.
    """

    terms: tuple[Term | None, ...]
    positions: Mapping[str, int]
    dtype: str
    packed: Callable[[Sequence[Any]], Any] = list
    joint: Term | None = None
    of_model: Callable[..., Any] | None = None

    @property
    def weighed(self) -> tuple[Term | None, ...]:
        """The terms by output; a loss over all outputs stands for each."""
        return self.terms if self.joint is None else (self.joint,) * len(self.terms)

    def of(
        self,
        model: Any,
        x: Sequence[Any],
        y: Sequence[Any],
        sample_weight: Sequence[Any] | None,
        *,
        training: bool,
        scales: Sequence[float | None] | None = None,
    ) -> tuple[tf.Tensor, list[Any]]:
        """Run `model` on a batch, and return the loss and the outputs; none of a loss that calls the model itself.

        Args:
            model: the whole model.
            x: its inputs in order.
            y: the targets in the order of the outputs.
            sample_weight: weights likewise, or None.
            training: the flag of the call.
            scales: as for a call of the loss.
        """
        if self.of_model is not None:
            inner = wraps_one(model) or model
            return self.by_model(inner, packed_inputs(model, x), y, sample_weight, training=training, scales=scales), []
        outputs = keras.tree.flatten(model(packed_inputs(model, x), training=training))
        return self(y, outputs, sample_weight, scales), outputs

    def by_model(
        self,
        model: Any,
        x: Any,
        y: Sequence[Any],
        sample_weight: Sequence[Any] | None,
        *,
        training: bool,
        scales: Sequence[float | None] | None = None,
    ) -> tf.Tensor:
        """Return a loss that calls `model` itself, or what stands for it, on `x` in the structure that it takes."""
        if self.of_model is None:
            raise AssertionError("the loss is a function of outputs")
        weight = None if sample_weight is None else self.packed(list(sample_weight))
        found = self.of_model(model, x, self.packed(list(y)), weight, training)
        return found if scales is None else (scales[0] or 0.0) * found

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
            NotApplicable: if the loss calls the model itself.
        """
        if self.of_model is not None:
            raise NotApplicable("the loss is a function of the model, not of its outputs: `loss: {of_model: ...}`")
        count = len(self.terms)
        targets = flat_values(y, self.positions, count)
        values = flat_values(outputs, self.positions, count)
        weights = [None] * count if sample_weight is None else flat_values(sample_weight, self.positions, count)
        if self.joint is not None:
            weight = None if sample_weight is None else self.packed(weights)
            found = self.joint.function(self.packed(targets), self.packed(list(map(copied, values))), weight)
            return found if scales is None else (scales[0] or 0.0) * found
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
    if isinstance(config, LossSpec) and config.over_all is not None:
        return _over_all(config, model, base)
    specs = specs_by_output(config, model)
    weights = _weights(loss_weights, model)
    alone = len(specs) == 1
    terms = []
    for index, (spec, weight, keys) in enumerate(zip(specs, weights, _keys(config, model), strict=True)):
        with at("loss", *keys):
            check_classes(spec, model, index)
            terms.append(None if spec is None else _term(spec, weight, base, alone=alone))
    return Loss(terms=tuple(terms), positions=output_positions(model), dtype=loss_dtype())


def _over_all(spec: LossSpec, model: keras.Model, base: Path) -> Loss:
    """Return the loss that one function of the user's is, in place of one for each output.

    It is taken for a mean over the examples, as every function of the user's own.
    """
    with at("loss"):
        own = None if spec.of_model else from_factory(spec, base)
        function = of_model(spec, base) if own is None else of_all_outputs(own)
    # Of a function of the model there is only the weight of a slice.
    term = Term(name=spec.of_model or _label(spec), function=function, weight=1.0, reduction=None, own=own)
    return Loss(
        terms=(None,) * len(model.outputs),
        positions=output_positions(model),
        dtype=loss_dtype(),
        packed=partial(packed_outputs, model),
        joint=term,
        of_model=function if spec.of_model else None,
    )


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
    return canonical(spec.name)


def _term(spec: LossSpec, weight: float, base: Path, *, alone: bool) -> Term:
    if spec.name == RANDOM_COTANGENT:
        if spec.kwargs:
            received = arguments_received(spec.kwargs)
            raise KeyedError(f"{RANDOM_COTANGENT} takes no arguments. Received: {received}", code="GC031")
        return Term(name=spec.name, function=random_cotangent, weight=weight, reduction="sum")
    if isinstance(spec, LiveLoss):
        loss = loss_computing_in(spec.made, loss_dtype())
    else:
        loss = from_factory(spec, base) if spec.factory else _keras_loss(spec)
    if isinstance(loss, keras.losses.Loss):
        reduction = _reduction(loss)
        function = _scalar(loss)
        given = loss if loss.reduction not in {None, "none"} else None
        return Term(
            name=_label(spec),
            function=function,
            weight=weight,
            reduction=reduction,
            keras_loss=loss,
            compiled=given,
            own=loss,
        )
    given = None if "sample_weight" in parameters(loss) else loss
    function = of_output(loss, name=_label(spec), alone=alone)
    return Term(name=_label(spec), function=function, weight=weight, reduction=None, compiled=given, own=loss)


def _label(spec: LossSpec) -> str:
    return spec.name or spec.factory or ""


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


def _reduction(loss: keras.losses.Loss) -> str:
    """Return the reduction in the terms of `Term`; unreduced values are averaged here."""
    return {"sum": "sum", "mean_with_sample_weight": "mean_with_sample_weight"}.get(str(loss.reduction), "mean")


def _scalar(loss: keras.losses.Loss) -> Callable[[Any, Any, Any], Any]:
    """Return `loss` as a function to a scalar; values that it does not reduce are averaged."""

    def function(y: Any, output: Any, sample_weight: Any) -> Any:
        return tf.reduce_mean(loss(y, output, sample_weight))

    return function

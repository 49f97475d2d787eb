"""Targets and sample weights whose shape the loss of their output refuses, before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.batch.loss import RANDOM_COTANGENT, specs_by_output
from gradcheck.batch.targets import target_shape
from gradcheck.building.endpoints import output_names
from gradcheck.building.messages import gist
from gradcheck.building.precision import loss_dtype
from gradcheck.config.keyed import KeyedError

if TYPE_CHECKING:
    import keras

    from gradcheck.batch import Batch
    from gradcheck.batch.loss import Loss, Term
    from gradcheck.config.schema import Config


def check_shapes(config: Config, model: keras.Model, batch: Batch, loss: Loss) -> None:
    """Raise for targets or sample weights that a loss of Keras, or the default loss, cannot take.

    A shape other than the usual one may be right, for losses broadcast: the loss is tried on zeros.

    Raises:
        KeyedError: GC030.
    """
    specs, names = specs_by_output(config.loss, model), output_names(model)
    for index, (term, shape) in enumerate(zip(loss.terms, batch.output_shapes, strict=False)):
        spec, y = specs[index], batch.y[index]
        if term is None or spec is None or y is None or not (term.keras_loss or term.name == RANDOM_COTANGENT):
            continue
        weight = batch.sample_weight[index] if batch.sample_weight else None
        on = f"{term.name} on output {names[index]} of shape {shape}"
        usual = target_shape(spec, shape)
        refused = tuple(y.shape) != usual and _refuses(term, y, shape, None)
        if refused:
            message = f"{on} takes targets of shape {usual}. Received: shape {tuple(y.shape)}"
            raise _at_its_key(
                config,
                ("targets", "npz", "factory"),
                message,
                f"make the targets or the output fit (the loss says: {refused})",
            )
        if weight is not None and _refuses(term, y, shape, weight):
            expanded = (*weight.shape, *[1] * (len(shape) - 1 - len(weight.shape)))
            message = f"{on} takes no sample weights of shape {tuple(weight.shape)}"
            help_ = f"Keras adds one axis at most: give one weight for each value of the loss, or the shape {expanded}"
            raise _at_its_key(config, ("sample_weight", "npz", "factory"), message, help_)


def _refuses(term: Term, y: Any, shape: tuple[int, ...], weight: Any) -> str | None:
    """Return why the loss raises for an output of zeros; None if it does not."""
    try:
        term.function(y, tf.zeros(shape, loss_dtype()), weight)
    except Exception as error:  # noqa: BLE001 - whatever it is, the loss cannot be computed
        return gist(error)
    return None


def _at_its_key(config: Config, sources: tuple[str, ...], message: str, help_: str) -> KeyedError:
    """Return the error at the key that the arrays come from."""
    error = KeyedError(message, code="GC030", help=help_)
    error.keys = ("data", *[key for key in sources if getattr(config.data, key, None) is not None][:1])
    return error

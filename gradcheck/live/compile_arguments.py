"""What a model was compiled with, and what is given in its place: losses and optimizers as sections of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import described
from gradcheck.config.keyed import KeyedError
from gradcheck.config.schema import TrainConfig
from gradcheck.config.sections.live import LiveLoss, LiveOptimizer
from gradcheck.config.sections.loss import RANDOM_COTANGENT, LossSpec
from gradcheck.keras_private import LossFunctionWrapper, compiled_loss_weights
from gradcheck.problem.optimizer import HandedOver

if TYPE_CHECKING:
    from collections.abc import Sequence


def compiled_loss(models: Sequence[Any]) -> tuple[Any, Any]:
    """Return the loss, and its weights, with which the last compiled one of `models` was compiled; None for neither."""
    for model in reversed(models):
        if getattr(model, "compiled", False) and getattr(model, "loss", None) is not None:
            return model.loss, compiled_loss_weights(model)
    return None, None


def compiled_optimizer(models: Sequence[Any]) -> Any:
    """Return the optimizer of the last of `models` that was compiled with one; None if there is none."""
    optimizers = (getattr(model, "optimizer", None) for model in reversed(models))
    return next((optimizer for optimizer in optimizers if optimizer is not None), None)


def loss_section(loss: Any) -> Any:
    """Return a loss as `compile` takes it as the `loss:` section: one, or a list or mapping of one for each output.

    Raises:
        KeyedError: GC020 for a name that Keras does not know.
    """
    if isinstance(loss, Mapping):
        return {name: loss_section(one) for name, one in loss.items() if one is not None}
    if isinstance(loss, (list, tuple)):
        return tuple(None if one is None else loss_section(one) for one in loss)
    return _one_loss(loss)


def _one_loss(loss: Any) -> LossSpec:
    if loss == RANDOM_COTANGENT:
        return LossSpec(name=RANDOM_COTANGENT)
    try:
        made = keras.losses.get(loss)
    except Exception as error:
        raise KeyedError(f"loss: {described(error)}", code="GC020") from error
    if not callable(made):
        raise KeyedError(f"a loss is a name, a function or an object. Received: {loss!r:.100}", code="GC020")
    if not isinstance(made, keras.losses.Loss):
        name = getattr(made, "__name__", "")
        name = name if name.isidentifier() else None  # a lambda: TensorFlow takes the name for its scopes
        own = not str(getattr(made, "__module__", "")).startswith("keras.")
        return LiveLoss(name=None if own else name, made=LossFunctionWrapper(made, name=name))
    own = not type(made).__module__.startswith("keras.")
    return LiveLoss(name=None if own else type(made).__name__, made=made)


def train_section(optimizer: Any, steps: int) -> TrainConfig:
    """Return the `train:` section with a copy of `optimizer`, a name or an object.

    Raises:
        KeyedError: GC020 for a name that Keras does not know.
        NotApplicable: GC051 if the optimizer cannot be copied.
    """
    try:
        made = keras.optimizers.get(optimizer)
    except Exception as error:
        raise KeyedError(f"optimizer: {described(error)}", code="GC020") from error
    live = LiveOptimizer(name=type(made).__name__, made=HandedOver.of(made))
    return TrainConfig(steps=steps).model_copy(update={"optimizer": live})

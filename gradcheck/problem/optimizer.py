"""The optimizer of a config, by the name of its Keras class, and the loss scale that it requires."""

from __future__ import annotations

import copy
import inspect
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.messages import described
from gradcheck.config.checks.keras_names import OPTIMIZER_ARGUMENTS
from gradcheck.config.findings import received
from gradcheck.config.keyed import KeyedError, arguments_received, at
from gradcheck.config.sections.live import LiveOptimizer
from gradcheck.errors import NotApplicable
from gradcheck.phrases import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from gradcheck.config.schema import OptimizerSpec

#: The precision for which Keras scales the loss by itself, and the initial scale.
SCALED_PRECISION = "mixed_float16"
INITIAL_SCALE = 2.0**15
_EXPECTED = "Name or Name: {arguments}"


def build_optimizer(
    spec: OptimizerSpec, *, precision: str, initial_scale: float = INITIAL_SCALE
) -> keras.optimizers.Optimizer:
    """Build the optimizer that `spec` describes, without variables of any model. Call it inside `precision_scope`.

    Args:
        spec: any public optimizer class of Keras, in any case, with its arguments. A mapping as an argument, such as
            `learning_rate: {ExponentialDecay: {...}}`, is a schedule by the name of its class.
        precision: under mixed_float16 any other optimizer is wrapped in a `LossScaleOptimizer`, as Keras's `compile`
            does.
        initial_scale: the initial loss scale of a `LossScaleOptimizer`, unless `spec` sets it.

    Raises:
        KeyedError: GC020 for an unknown name, GC004 for arguments that the class refuses.
    """
    if isinstance(spec, LiveOptimizer):
        optimizer: keras.optimizers.Optimizer = spec.made.copied()
        return optimizer
    with at("train", "optimizer"):
        optimizer = _optimizer(spec.name, spec.kwargs)
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    if scales and "initial_scale" not in spec.kwargs:
        optimizer.initial_scale = initial_scale
    if scales or precision != SCALED_PRECISION:
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=initial_scale)


def start(optimizer: keras.optimizers.Optimizer, spec: OptimizerSpec) -> None:
    """Give a built optimizer the values with which a live one was handed over; others start as they are."""
    if isinstance(spec, LiveOptimizer):
        spec.made.start(optimizer)


@dataclass(frozen=True, eq=False, kw_only=True)
class HandedOver:
    """An optimizer as it was handed over.

    Attributes:
        kind: its class.
        config: its configuration.
        values: of its variables, by `numbered` names; empty if it was not built.
    """

    kind: type
    config: Mapping[str, Any]
    values: Mapping[tuple[str, int], NDArray[Any]]

    @classmethod
    def of(cls, optimizer: keras.optimizers.Optimizer) -> HandedOver:
        """Read `optimizer`.

        Raises:
            NotApplicable: GC051 if it has no configuration, from which alone another can be made.
        """
        try:
            config = optimizer.get_config()
        except Exception as error:
            message = f"{type(optimizer).__name__} cannot be copied: {described(error)}"
            help_ = "the reference trains with a copy: give the class a get_config() with its constructor's arguments"
            raise NotApplicable(message, code="GC051", help=help_) from error
        values = {key: np.asarray(variable.value) for key, variable in numbered(optimizer.variables)}
        return cls(kind=type(optimizer), config=config, values=values)

    def copied(self) -> keras.optimizers.Optimizer:
        """Return another optimizer of this configuration, not built yet."""
        return self.kind.from_config(copy.deepcopy(dict(self.config)))  # type: ignore[attr-defined]  # of Keras

    def start(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Assign the values to the variables of those names."""
        for key, variable in numbered(optimizer.variables):
            if key in self.values:
                variable.assign(self.values[key])


def numbered(variables: Iterable[Any]) -> list[tuple[tuple[str, int], Any]]:
    """Return each variable with its name and how many of that name came before."""
    seen: Counter[str] = Counter()
    keys = []
    for variable in variables:
        keys.append(((variable.name, seen[variable.name]), variable))
        seen[variable.name] += 1
    return keys


def innermost(optimizer: Any) -> Any:
    """Return the optimizer that updates the weights: the inner one of a `LossScaleOptimizer`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def loss_scale(optimizer: keras.optimizers.Optimizer) -> tf.Tensor | None:
    """Return the current factor of the loss that `optimizer`, already built, expects: a scalar, or None for 1."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or optimizer.loss_scale_factor is not None:
        return tf.convert_to_tensor(optimizer.scale_loss(tf.ones(())))
    return None


def accumulated_over(optimizer: Any) -> int:
    """Return over how many calls `optimizer` averages gradients before an update."""
    return innermost(optimizer).gradient_accumulation_steps or 1


def classes_that_apply() -> list[type[Any]]:
    """Return every class of optimizers, of Keras or of the user's own, that defines `apply`, the most general first."""
    base = next(kind for kind in reversed(keras.optimizers.Optimizer.__mro__) if "apply" in vars(kind))
    return [kind for kind in _subclasses(base) if "apply" in vars(kind)]


def _subclasses(kind: type[Any]) -> list[type[Any]]:
    return list(dict.fromkeys([kind, *(found for sub in kind.__subclasses__() for found in _subclasses(sub))]))


def _optimizer(name: str, kwargs: Mapping[str, Any]) -> keras.optimizers.Optimizer:
    arguments = {key: _argument(key, value) for key, value in kwargs.items()}
    return _made("optimizer", name, arguments, keras.optimizers, keras.optimizers.Optimizer)


def _argument(key: str, value: Any) -> Any:
    """Convert an argument for Keras: a mapping becomes the optimizer or the schedule that it describes."""
    if key in OPTIMIZER_ARGUMENTS:
        return _optimizer(*_named(value, key))
    if key == "optimizer_map":
        return _optimizer_map(value)
    return _schedule(value, key) if isinstance(value, dict) else value


def _optimizer_map(value: Any) -> Any:
    """Build the map of a `MultiOptimizer`: `{default_optimizer: SGD, optimizer_map: {"encoder/.*": Adam}}`."""
    if not isinstance(value, dict):
        raise _malformed("optimizer_map", value, "{default_optimizer: Name, optimizer_map: {pattern: Name}}")
    patterns = {
        pattern: _optimizer(*_named(inner, pattern)) for pattern, inner in value.get("optimizer_map", {}).items()
    }
    others = {key: _argument(key, inner) for key, inner in value.items() if key != "optimizer_map"}
    return keras.optimizers.OptimizerMap(**others, optimizer_map=patterns)


def _schedule(value: Any, key: str) -> Any:
    name, kwargs = _named(value, key)
    arguments = {inner: _schedule(v, inner) if isinstance(v, dict) else v for inner, v in kwargs.items()}
    schedules = keras.optimizers.schedules
    return _made("learning-rate schedule", name, arguments, schedules, schedules.LearningRateSchedule)


def _made(what: str, name: str, arguments: Mapping[str, Any], module: Any, base: type) -> Any:
    """Construct the Keras class named `name` with its arguments."""
    found = vars(module).values()
    classes = {c.__name__.lower(): c for c in found if inspect.isclass(c) and issubclass(c, base) and c is not base}
    wanted = classes.get(name.replace("_", "").lower())
    if wanted is None:
        help_ = did_you_mean(name, [c.__name__ for c in classes.values()])
        raise KeyedError(f"no Keras {what} is called {name}", code="GC020", help=help_)
    try:
        return wanted(**arguments)
    except Exception as error:
        said, known = described(error), inspect.signature(wanted).parameters
        shown = said if "Received" in said else f"{said}. Received: {arguments_received(arguments)}"
        unknown = [key for key in arguments if key not in known]
        help_ = did_you_mean(unknown[0], known) if unknown else None
        raise KeyedError(f"{name}: {shown}", code="GC004", help=help_) from error


def _named(value: Any, key: str) -> tuple[str, Mapping[str, Any]]:
    """Return name and arguments of `Name` or `{Name: {arguments}}`."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or len(value) != 1:
        raise _malformed(key, value, _EXPECTED)
    ((name, kwargs),) = value.items()
    if not isinstance(name, str) or not isinstance(kwargs, (dict, type(None))):
        raise _malformed(key, value, _EXPECTED)
    return name, kwargs or {}


def _malformed(key: str, value: Any, expected: str) -> KeyedError:
    return KeyedError(f"{key}: expected {expected}. Received: {received(value)}", code="GC004")

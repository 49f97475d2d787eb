"""Layers from their names and arguments, and arguments that are layers, initializers and the like themselves."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras
from pydantic import ValidationError

from gradcheck.building import user_code
from gradcheck.building.messages import advice, described, gist, raised, user_location
from gradcheck.building.precision import widened
from gradcheck.building.sources.keras_signatures import arguments_of
from gradcheck.config.checks.keras_names import REFUSED_LAYERS
from gradcheck.config.keyed import KeyedError, arguments_received
from gradcheck.config.sections.model import LAYER_ARGUMENTS, LayerSpec
from gradcheck.errors import GradcheckError, RunError
from gradcheck.phrases import did_you_mean, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The module of other objects that an argument takes as `Name: {arguments}`, by the end of the argument's name.
_MODULES = {
    "_initializer": "keras.initializers",
    "_regularizer": "keras.regularizers",
    "_constraint": "keras.constraints",
}
#: Keras's message if the user's class passes on an argument that neither knows: the config is wrong, not the class.
_UNKNOWN_ARGUMENT = "Unrecognized keyword arguments"


class LayerError(KeyedError):
    """A layer cannot be built, or called, as the config describes it. Its `keys` lead to the entry of `layers`."""


def layer_names() -> list[str]:
    """Return the names of Keras's layer classes."""
    return [name for name, value in vars(keras.layers).items() if _is_layer_class(value)]


def _is_layer_class(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, keras.layers.Layer)


def build_layer(spec: LayerSpec, base: Path, label: str) -> keras.layers.Layer:
    """Build the layer that `spec` describes, without calling it.

    Args:
        spec: class and arguments; nested layers have the same form.
        base: the folder that the user's own classes are relative to.
        label: the name of the entry in messages.

    Raises:
        LayerError: GC020 for an unknown class, GC021 if the constructor refuses the arguments.
        RunError: GC051 if the constructor of the user's own class raises in the user's code.
        ConfigError: GC028 if the user's own class is not found.
    """
    constructor = _constructor(spec.target, base)
    kwargs = {name: resolve(name, value, base, label) for name, value in spec.kwargs.items()}
    first = [] if spec.argument is None else [resolve(_first_parameter(constructor), spec.argument, base, label)]
    try:
        layer = constructor(*first, **kwargs)
    except GradcheckError:
        raise
    except Exception as error:
        received = arguments_received(spec.kwargs, spec.argument)
        failure = layer_failure(error, f"{label} cannot be built", received, spec.target)
        raise _at_its_argument(failure, label, constructor, spec) from error
    if not isinstance(layer, keras.layers.Layer):
        message = f"{label} cannot be built: {spec.target} gave no layer. Received: a {type(layer).__name__}"
        raise LayerError(message, code="GC021")
    return layer


def _at_its_argument(
    failure: LayerError | RunError, label: str, constructor: Any, spec: LayerSpec
) -> LayerError | RunError:
    """Return the error at the first argument that the constructor does not take, with what was meant."""
    accepted = arguments_of(constructor)
    unknown = [name for name in spec.kwargs if accepted is not None and name not in accepted]
    if unknown and isinstance(failure, LayerError):
        received = arguments_received(spec.kwargs, spec.argument)
        failure.message = f"{label} cannot be built: it takes no argument `{unknown[0]}`. Received: {received}"
        failure.keys, failure.at_key = (spec.target, unknown[0]), True
        failure.help = suggestion(unknown[0], accepted or (), "It takes", most=8)
    return failure


def layer_failure(
    error: Exception, what: str, received: str, target: str, help_: str | None = None
) -> LayerError | RunError:
    """Return the error to raise for `error`: at the user's line if the user's code raised, else at the config."""
    own = ":" in target and _UNKNOWN_ARGUMENT not in str(error)
    location = user_location(error, target) if own else None
    if location is not None:
        return raised(f"{what}: it raised {described(error)}", error, "GC051", location=location, help_=help_)
    said = gist(error)
    shown = said if "Received" in said else f"{said.rstrip('.')}. Received: {received}"
    return LayerError(f"{what}: {shown}", code="GC021", help=advice(error) or help_)


def _constructor(target: str, base: Path) -> Callable[..., Any]:
    """Return the class (or function) that constructs the layer."""
    if target in REFUSED_LAYERS:
        raise LayerError(f"{target} cannot be written in a config", code="GC021", help=REFUSED_LAYERS[target])
    if ":" in target:
        found = user_code.load(target, base, code="GC051")
        if not callable(found):
            raise LayerError(f"{target} is not a layer class. Received: {found!r}", code="GC021")
        return found  # type: ignore[no-any-return]  # callable() does not narrow Any
    found = getattr(keras.layers, target, None)
    if not _is_layer_class(found):
        help_ = did_you_mean(target, layer_names(), "for a class of your own, write ./file.py:Name")
        raise LayerError(f"no Keras layer is called {target}", code="GC020", help=help_)
    return found  # type: ignore[return-value]  # checked to be a class one line above


def _first_parameter(constructor: Callable[..., Any]) -> str:
    return next(iter(inspect.signature(constructor).parameters), "")


def resolve(name: str, value: Any, base: Path, label: str) -> Any:
    """Convert the value of layer argument `name` for Keras.

    A layer argument (`layer`, `cell`, ...) takes a layer in the form of an entry of `layers`; any argument takes `Name:
    {arguments}` of a Keras layer, and `*_initializer`, `*_regularizer`, `*_constraint` take it of their own kind. All
    other values are unchanged: texts, numbers, lists, and Keras's `{class_name, config}`.
    """
    if isinstance(value, (list, tuple)):
        return [resolve(name, item, base, label) for item in value]
    if isinstance(value, str):
        return _resolved_text(name, value, base, label)
    if not isinstance(value, dict) or "class_name" in value:
        _check_config(value, label)
        return value
    target = str(next(iter(value), "")) if len(value) == 1 else ""
    module = next((module for ending, module in _MODULES.items() if name.endswith(ending)), None)
    if module is not None and target:
        return _other_object(module, target, value[target], base, label)
    is_layer = name in LAYER_ARGUMENTS or ":" in target or target in layer_names()
    if is_layer:
        return _nested(value, base, label)
    _check_config(value, label)
    return value


def _resolved_text(name: str, value: str, base: Path, label: str) -> Any:
    if name in LAYER_ARGUMENTS:
        return _nested(value, base, label)
    return widened(value) if name == "dtype" else value


def _nested(entry: Any, base: Path, label: str) -> keras.layers.Layer:
    """Build a layer inside a layer's arguments."""
    try:
        spec = LayerSpec.model_validate(entry)
    except ValidationError as error:
        message = f"{label} takes a layer here: Name, or Name: {{arguments}}. Received: {entry!r}"
        raise LayerError(message, code="GC021") from error
    if spec.kind != "layer":
        raise LayerError(f"{label} takes a layer here. Received: {spec.kind}", code="GC021")
    return build_layer(spec, base, f"{label} → {spec.target}")


def _other_object(module: str, target: str, arguments: Any, base: Path, label: str) -> Any:
    """Build an initializer, regularizer or constraint from `Name: {arguments}`."""
    known = vars(getattr(keras, module.removeprefix("keras.")))
    constructor = user_code.load(target, base, code="GC051") if ":" in target else known.get(target)
    if not callable(constructor):
        names = [name for name in known if name[:1].isupper()]
        raise LayerError(f"{label}: no {target} in {module}", code="GC020", help=did_you_mean(target, names))
    kwargs = arguments if isinstance(arguments, dict) else {}
    first = [] if arguments is None or isinstance(arguments, dict) else [arguments]
    try:
        return constructor(*first, **kwargs)
    except GradcheckError:
        raise
    except Exception as error:
        received = arguments_received(kwargs, first[0] if first else None)
        raise layer_failure(error, f"{label}: {target} cannot be built", received, target) from error


def _check_config(value: Any, label: str) -> None:
    """Raise for a serialised object that names a module to import: `--safe` finds user code only in references."""
    if isinstance(value, dict):
        module = value.get("module")
        if isinstance(module, str) and module.partition(".")[0] != "keras":
            message = f"{label}: a config of an object cannot name a module. Received: module={module!r}"
            raise LayerError(message, code="GC021", help="write `./file.py:Name: {arguments}`")
        for inner in value.values():
            _check_config(inner, label)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_config(inner, label)

"""Copies of Keras objects with variables of their own, in the current precision and with the same names."""

from __future__ import annotations

import inspect
import tempfile
import types
import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import described, user_location
from gradcheck.building.precision import variable_dtype
from gradcheck.building.saved_dtypes import converted
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import all_layers, name_layer_like, name_like, replaced, sharing_scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_HELP = "give each class of your own a get_config() that returns the arguments of its constructor"


def copies_of(originals: Sequence[keras.Layer]) -> list[keras.Layer]:
    """Return a copy of each of `originals`, with its values, made by Keras's serialization in the current dtype policy.

    What several of them share, their copies share. Functions, lambdas among them, are the very same.

    Raises:
        NotApplicable: GC051 if Keras cannot serialize one of them, or what it makes of that is another model.
    """
    copies = remade(originals)
    for original, copy in zip(originals, copies, strict=True):
        take_values(original, copy)
    return copies


def remade(originals: Sequence[keras.Layer]) -> list[keras.Layer]:
    """Return copies as `copies_of` does, without their values: a layer may have no variables before it is called."""
    policy = keras.config.dtype_policy().name
    try:
        with saved(originals) as (configs, custom):
            own = [original.dtype_policy.name for original in originals]
            copies = loaded(
                [
                    converted(config, policy, variable_dtype(policy), own=name)
                    for config, name in zip(configs, own, strict=True)
                ],
                custom,
            )
    except Exception as error:
        raise _refused(originals, policy, error) from error
    for original, copy in zip(originals, copies, strict=True):
        copy.name = original.name  # a class without a get_config of its own does not save it
    return copies


@contextmanager
def saved(originals: Sequence[keras.Layer]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """Yield what Keras saves of each of `originals`, and by name the user's classes and functions in them.

    Functions have other names inside.
    """
    with _found_by_name(originals) as custom, sharing_scope(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras says of a lambda
        known = _by_name(originals)
        yield [_marked(keras.saving.serialize_keras_object(one), known, custom) for one in originals], custom


def loaded(configs: Sequence[Any], custom: Mapping[str, Any]) -> list[keras.Layer]:
    """Return the layers of which Keras has `saved` the configurations, without their values."""
    with sharing_scope(), warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")  # of a layer that its call builds
        for cls in custom.values():
            if isinstance(cls, type) and issubclass(cls, keras.Layer) and _takes_no_base_arguments(cls):
                stack.enter_context(replaced(cls, from_config=_without_base_arguments(cls)))
        return [
            keras.saving.deserialize_keras_object(config, custom_objects=dict(custom), safe_mode=False)
            for config in configs
        ]


def _refused(originals: Sequence[keras.Layer], policy: str, error: Exception) -> NotApplicable:
    """Return the error for originals that are not copied, with what was raised first: Keras wraps it."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__context__) is not None:
        chain.append(before)
    location = next((found for one in reversed(chain) if (found := user_location(one))), None)
    names = ", ".join(original.name for original in originals)
    advice = "" if location else f"; {_HELP}"  # otherwise the user's own `call` raises in this precision
    message = f"{names} cannot be copied in {policy}: {described(chain[-1])}{advice}"
    return NotApplicable(message, code="GC051", location=location)


def take_values(original: keras.Layer, copy: keras.Layer) -> None:
    """Give the built `copy` the values and the names of all variables of `original`, its vocabularies and flags.

    Raises:
        NotApplicable: GC051 if the copy has other layers or variables.
    """
    layers, theirs = all_layers([original]), all_layers([copy])
    variables, others = original.variables, copy.variables
    if [type(layer) for layer in layers] != [type(layer) for layer in theirs] or _shapes(variables) != _shapes(others):
        message = (
            f"{original.name} cannot be copied: its configuration makes another model. Received: {len(theirs)} layers "
            f"and {len(others)} variables, for {len(layers)} and {len(variables)}"
        )
        raise NotApplicable(message, code="GC051", help=_HELP)
    for variable, other in zip(variables, others, strict=True):
        other.assign(keras.ops.cast(variable.value, other.dtype))
        name_like(other, variable)
    for layer, other in zip(layers, theirs, strict=True):
        name_layer_like(other, layer)
        if _overrides(layer, "load_assets"):
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                other.load_assets(folder)
        if hasattr(layer, "finalize_state"):  # of statistics: it computes with what was just assigned
            other.finalize_state()
        if other.trainable != layer.trainable:
            other.trainable = layer.trainable


#: What Keras adds to the configuration of every layer.
_BASE_ARGUMENTS = frozenset({"name", "trainable", "dtype"})


def _takes_no_base_arguments(cls: type) -> bool:
    """Whether a layer's constructor takes no `**kwargs`, and Keras's own `from_config` would hand it some."""
    own = getattr(getattr(cls, "from_config", None), "__module__", "").startswith("keras.")
    parameters = inspect.signature(cls).parameters
    any_ = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return own and not any_ and not parameters.keys() >= _BASE_ARGUMENTS


def _without_base_arguments(cls: Any) -> Any:
    """Return a `from_config` that leaves out those of `_BASE_ARGUMENTS` that the constructor does not take."""
    inherited, known = cls.from_config, inspect.signature(cls).parameters

    def from_config(_: Any, config: dict[str, Any]) -> Any:
        made = inherited({key: v for key, v in config.items() if key in known or key not in _BASE_ARGUMENTS})
        made.name = config.get("name", made.name)
        return made

    return classmethod(from_config)


def _overrides(layer: keras.Layer, method: str) -> bool:
    return getattr(type(layer), method, None) is not getattr(keras.Layer, method, None)


def _shapes(variables: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _by_name(originals: Sequence[keras.Layer]) -> dict[tuple[str, str], int]:
    """Return a number for every layer that can be told by the name of its class and its own name."""
    layers = all_layers(originals)
    keys = [(type(layer).__name__, layer.name) for layer in layers]
    return {key: id(layer) for key, layer in zip(keys, layers, strict=True) if keys.count(key) == 1}


def _marked(config: Any, known: Mapping[tuple[str, str], int], custom: Mapping[str, Any]) -> Any:
    """Return a saved model in which each layer has its number, and nothing that it was compiled with.

    What has one number is loaded once: a layer in two models stays one layer. A function that is an object of
    TensorFlow, such as one under `tf.custom_gradient`, is saved as a plain one.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(_marked(item, known, custom) for item in config)
    if not isinstance(config, dict):
        return config
    new = {key: _marked(value, known, custom) for key, value in config.items() if key != "compile_config"}
    inner = new.get("config")
    if isinstance(inner, str) and inner in custom:
        return {**new, "module": "builtins", "class_name": "function", "registered_name": "function"}
    number = known.get((str(new.get("class_name")), str(inner.get("name")))) if isinstance(inner, dict) else None
    return new if number is None else {**new, "shared_object_id": number}


@contextmanager
def _found_by_name(originals: Sequence[keras.Layer]) -> Iterator[dict[str, Any]]:
    """Yield the user's classes and functions in `originals` by the names under which Keras saves them.

    Functions are renamed inside: several may have one name, and Keras would save the code of a lambda without what it
    refers to.
    """
    layers = all_layers(originals)
    held = [layers, *(_values(vars(layer)) for layer in layers)]
    objects = {id(value): value for values in held for value in values}.values()
    classes = {type(value) for value in objects} | {value for value in objects if isinstance(value, type)}
    custom: dict[str, Any] = {keras.saving.get_registered_name(c): c for c in classes if not _is_installed(c)}
    renamed = []
    try:
        for value in filter(_is_function, objects):
            renamed.append((value, value.__name__))
            value.__name__ = f"gradcheck_function_{len(renamed)}"
            custom[value.__name__] = value
        yield custom
    finally:
        for value, name in renamed:
            value.__name__ = name


def _values(held: Any) -> Iterator[Any]:
    """Yield the values of a mapping or sequence, and those of the ones inside it."""
    for value in held.values() if isinstance(held, dict) else held:
        yield value
        if isinstance(value, (dict, list, tuple)):
            yield from _values(value)


def _is_function(value: Any) -> bool:
    """Whether a value is a function of the user's, which can be renamed: plain, or an object of TensorFlow."""
    if isinstance(value, (type, types.MethodType, keras.Operation)) or not callable(value):
        return False
    return hasattr(value, "__name__") and hasattr(value, "__dict__") and not _is_installed(value)


def _is_installed(value: Any) -> bool:
    """Whether Keras finds a class or a function by itself, or never saves it."""
    return value.__module__.partition(".")[0] in ("keras", "tensorflow", "builtins", "numpy")

"""Copies of Keras objects with variables of their own, in the current precision and with the same names."""

from __future__ import annotations

import tempfile
import types
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import described, user_location
from gradcheck.building.precision import variable_dtype
from gradcheck.building.saved_dtypes import converted
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import all_layers, name_like, sharing_scope

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_HELP = (
    "only a copy can compute in another precision: give each class of your own a get_config() that returns the "
    "arguments of its constructor"
)


def copies_of(originals: Sequence[keras.Layer]) -> list[keras.Layer]:
    """Return a copy of each of `originals`, made by Keras's serialization in the current dtype policy.

    What several of them share, their copies share. Functions, lambdas among them, are the very same.

    Raises:
        NotApplicable: GC051 if Keras cannot serialize one of them, or what it makes of that is another model.
    """
    policy = keras.config.dtype_policy().name
    with _found_by_name(originals) as custom, sharing_scope():
        try:
            saved = [_uncompiled(keras.saving.serialize_keras_object(original)) for original in originals]
            copies = [
                keras.saving.deserialize_keras_object(
                    converted(config, policy, variable_dtype(policy), own=original.dtype_policy.name),
                    custom_objects=custom,
                    safe_mode=False,
                )
                for original, config in zip(originals, saved, strict=True)
            ]
        except Exception as error:
            names = ", ".join(original.name for original in originals)
            raise NotApplicable(
                f"{names} cannot be copied: {described(error)}", code="GC051", location=user_location(error), help=_HELP
            ) from error
    for original, copy in zip(originals, copies, strict=True):
        if copy.built:  # a layer without a shape is built by its first call
            take_values(original, copy)
    return copies


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
        name_like(other, layer)
        if _overrides(layer, "load_assets"):
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                other.load_assets(folder)
        if hasattr(layer, "finalize_state"):  # of statistics: it computes with what was just assigned
            other.finalize_state()
        if other.trainable != layer.trainable:
            other.trainable = layer.trainable


def _overrides(layer: keras.Layer, method: str) -> bool:
    return getattr(type(layer), method, None) is not getattr(keras.Layer, method, None)


def _shapes(variables: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(variable.shape) for variable in variables]


def _uncompiled(config: Any) -> Any:
    """Return a saved model without what it was compiled with."""
    if isinstance(config, dict):
        return {key: _uncompiled(value) for key, value in config.items() if key != "compile_config"}
    return type(config)(map(_uncompiled, config)) if isinstance(config, (list, tuple)) else config


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
    functions = [value for value in objects if isinstance(value, types.FunctionType) and not _is_installed(value)]
    names = [function.__name__ for function in functions]
    for index, function in enumerate(functions):
        function.__name__ = f"gradcheck_function_{index}"
        custom[function.__name__] = function
    try:
        yield custom
    finally:
        for function, name in zip(functions, names, strict=True):
            function.__name__ = name


def _values(held: Any) -> Iterator[Any]:
    """Yield the values of a mapping or sequence, and those of the ones inside it."""
    for value in held.values() if isinstance(held, dict) else held:
        yield value
        if isinstance(value, (dict, list, tuple)):
            yield from _values(value)


def _is_installed(value: Any) -> bool:
    """Whether Keras finds a class or a function by itself, or never saves it."""
    return value.__module__.partition(".")[0] in ("keras", "tensorflow", "builtins", "numpy")

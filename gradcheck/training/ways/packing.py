"""Objects for another process: pickled with the classes and functions of the running program that they need."""

from __future__ import annotations

import inspect
import io
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras

from gradcheck.building.messages import described
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import all_layers, is_keras_own

if TYPE_CHECKING:
    from collections.abc import Mapping


def packed(content: Any) -> bytes:
    """Pickle `content`.

    Raises:
        NotApplicable: if something in it cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(content)
    except Exception as error:
        raise NotApplicable(f"it cannot be handed to another process: {described(error)}") from error
    return buffer.getvalue()


def unpacked(content: bytes) -> Any:
    """Return what `packed` was given.

    Raises:
        NotApplicable: if a model in it cannot be built again.
    """
    return cloudpickle.loads(content)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """A pickler for the objects of a check: models as Keras saves them, losses by their attributes."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is made again; Keras's own way looks for the user's classes in modules that lack them."""
        if isinstance(obj, keras.Model):
            return _loaded, (_archive(obj), _needed(obj))
        if isinstance(obj, keras.losses.Loss):
            return object.__reduce_ex__(obj, 2)
        return super().reducer_override(obj)


def _archive(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        return file.read_bytes()


def _needed(model: keras.Model) -> dict[str, Any]:
    """Return the user's classes of layers, and functions that layers hold, by name."""
    layers = all_layers([model])
    found: dict[str, Any] = {type(layer).__name__: type(layer) for layer in layers if not is_keras_own(layer)}
    held = (value for layer in layers for value in vars(layer).values() if inspect.isfunction(value))
    return found | {function.__name__: function for function in held if not function.__module__.startswith("keras.")}


def _loaded(archive: bytes, needed: Mapping[str, Any]) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        file.write_bytes(archive)
        try:
            return keras.saving.load_model(file, custom_objects=dict(needed), compile=False, safe_mode=False)
        except Exception as error:
            raise NotApplicable(f"the model cannot be built again in another process: {described(error)}") from error

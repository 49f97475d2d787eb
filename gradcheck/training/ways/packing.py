"""Objects for another process: pickled with the classes and functions of the running program that they need."""

from __future__ import annotations

import copyreg
import inspect
import io
import tempfile
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras

from gradcheck.building.messages import described
from gradcheck.building.sources.live import Lent
from gradcheck.errors import NotApplicable
from gradcheck.keras_private import all_layers, is_keras_own

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
    """Return what `packed` was given."""
    return cloudpickle.loads(content)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """A pickler for the objects of a check: models as Keras saves them, losses by their attributes."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is made again; Keras's own way looks for the user's classes in modules that lack them."""
        if isinstance(obj, Lent):
            return _Sent, ([(_archive(model), _needed(model)) for model in obj.objects],)
        if isinstance(obj, MethodType):
            return getattr, (obj.__self__, obj.__name__)
        if isinstance(obj, keras.losses.Loss):
            return copyreg.__newobj__, (type(obj),), vars(obj)  # type: ignore[attr-defined]  # typeshed lacks it
        return super().reducer_override(obj)


class _Sent:
    """Models from another process, in place of `Lent`: loaded when they are taken, in the scope of that moment."""

    def __init__(self, models: Sequence[tuple[bytes, Mapping[str, Any]]]) -> None:
        self._models = models

    def take(self, index: int) -> keras.Model:
        """Return model `index`.

        Raises:
            NotApplicable: if it cannot be built again.
        """
        return _loaded(*self._models[index])

    def settle(self, index: int) -> None:
        """Do nothing: a model is loaded with its values."""


def _archive(model: keras.Model) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        model.save(file)
        return file.read_bytes()


def _needed(model: keras.Model) -> dict[str, Any]:
    """Return the user's classes of layers, and functions that layers hold, by the names in an archive."""
    layers = all_layers([model])
    classes = {type(layer) for layer in layers if not is_keras_own(layer)}
    found: dict[str, Any] = {keras.saving.get_registered_name(cls): cls for cls in classes}
    for layer in layers:
        for name, value in vars(layer).items():
            # Keras wraps methods, such as `build`, in functions that hold the layer itself.
            if (
                inspect.isfunction(value)
                and not hasattr(type(layer), name)
                and not value.__module__.startswith("keras.")
            ):
                found[value.__name__] = value
    return found


def _loaded(archive: bytes, needed: Mapping[str, Any]) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.keras")
        file.write_bytes(archive)
        try:
            return keras.saving.load_model(file, custom_objects=dict(needed), compile=False, safe_mode=False)
        except Exception as error:
            raise NotApplicable(f"the model cannot be built again in another process: {described(error)}") from error

"""One model from one source: every source but the user's own chain of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.precision import widened
from gradcheck.building.sources import application, factory, file, layers
from gradcheck.building.sources.built import BuiltModel, load_weights
from gradcheck.building.sources.subclassed import with_inputs
from gradcheck.config.sections.model import ApplicationSource, FactorySource, FileSource, InputSpec, LayersSource
from gradcheck.keras_private import calls_of_models

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config.sections.model import SingleSource

#: The builder of each source. A new source is a config class, a file and a line here.
BUILDERS: dict[type, Callable[[Any, Path], Any]] = {
    LayersSource: layers.build,
    FactorySource: factory.build,
    ApplicationSource: application.build,
    FileSource: file.build,
}


def build_any(source: SingleSource, base: Path) -> Any:
    """Return the object that `source` describes, unchecked: a part may be a subclassed model or a single layer."""
    return BUILDERS[type(source)](source, base)


def build_single(source: SingleSource, base: Path) -> keras.Model:
    """Build the model of `source`, with its weights; one that has no symbolic inputs is called on some.

    Raises:
        ConfigError: if the config is wrong.
        RunError: GC051 if building it fails, or it is not known what the model is called on.
    """
    with calls_of_models() as calls:
        built = build_any(source, base)
    model = with_inputs(built, described(source), declared_inputs(source, built, calls.get(id(built))))
    load_weights(model, source.weights, base)
    return model


def declared_inputs(source: SingleSource, model: Any, called_on: Any = None) -> Any:
    """Return the KerasTensors that a model is called on, in its structure; None if nothing tells.

    They are those of `model.input`, else `called_on` (what its factory called it on), else those it was built for.
    """
    written = getattr(source, "input", None)
    if written is not None and not isinstance(source, LayersSource):
        return keras.tree.map_structure(_as_tensor, written)
    if called_on is not None:
        return keras.tree.map_structure(_as_tensor, called_on)
    built_for = model.get_build_config() if isinstance(model, keras.Layer) else None
    shapes = (built_for or {}).get("input_shape")
    return None if shapes is None else keras.tree.map_shape_structure(_as_tensor, shapes)


def _as_tensor(like: Any) -> Any:
    """Return a KerasTensor like a tensor, an `InputSpec` of a config, or of a shape alone, with the batch open."""
    if isinstance(like, InputSpec):
        return keras.KerasTensor((None, *like.shape), widened(like.dtype or keras.config.floatx()))
    if isinstance(like, (list, tuple)):
        return keras.KerasTensor((None, *like[1:]), keras.config.floatx())
    return keras.KerasTensor((None, *like.shape[1:]), widened(keras.backend.standardize_dtype(like.dtype)))


def build_whole(source: SingleSource, base: Path) -> BuiltModel:
    """Build the model of `source` as the whole model."""
    return BuiltModel(model=build_single(source, base))


def described(source: SingleSource) -> str:
    """Return the name of `source` in messages: `factory ./model.py:build`."""
    if isinstance(source, FactorySource):
        return f"factory {source.factory}"
    if isinstance(source, FileSource):
        return f"file {source.file}"
    return f"application {source.application}" if isinstance(source, ApplicationSource) else "layers"

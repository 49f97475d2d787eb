"""One model from one source: every source but the user's own chain of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building.sources import application, factory, file, layers
from gradcheck.building.sources.built import BuiltModel, check_functional, load_weights
from gradcheck.building.sources.live import LiveModel, build_live
from gradcheck.config.sections.model import ApplicationSource, FactorySource, FileSource, LayersSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

    from gradcheck.config.sections.model import SingleSource

#: The builder of each source. A new source is a config class, a file and a line here.
BUILDERS: dict[type, Callable[[Any, Path], Any]] = {
    LayersSource: layers.build,
    FactorySource: factory.build,
    ApplicationSource: application.build,
    FileSource: file.build,
    LiveModel: build_live,
}


def build_any(source: SingleSource, base: Path) -> Any:
    """Return the object that `source` describes, unchecked: a part may be a subclassed model or a single layer."""
    return BUILDERS[type(source)](source, base)


def build_single(source: SingleSource, base: Path) -> keras.Model:
    """Build the functional model of `source`, with its weights.

    Raises:
        ConfigError: if the config is wrong.
        RunError: GC051 if building it fails or gives no functional model.
    """
    model = check_functional(build_any(source, base), described(source))
    load_weights(model, source.weights, base)
    return model


def build_whole(source: SingleSource, base: Path) -> BuiltModel:
    """Build the model of `source` as the whole model."""
    return BuiltModel(model=build_single(source, base))


def described(source: SingleSource) -> str:
    """Return the name of `source` in messages: `factory ./model.py:build`."""
    if isinstance(source, LiveModel):
        return source.name
    if isinstance(source, FactorySource):
        return f"factory {source.factory}"
    if isinstance(source, FileSource):
        return f"file {source.file}"
    return f"application {source.application}" if isinstance(source, ApplicationSource) else "layers"

"""One model from one source: everything but the user's own chain of parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building.sources import application, factory, file, layers
from gradcheck.building.sources.built import BuiltModel, check_functional, load_weights
from gradcheck.config.sections.model import ApplicationSource, FactorySource, FileSource, LayersSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import keras

    from gradcheck.config.sections.model import SingleSource

#: What builds each source. A new source is a config class, a file and a line here.
BUILDERS: dict[type, Callable[[Any, Path], Any]] = {
    LayersSource: layers.build,
    FactorySource: factory.build,
    ApplicationSource: application.build,
    FileSource: file.build,
}


def build_any(source: SingleSource, base: Path) -> Any:
    """What `source` gives, unchecked: a part may be a subclassed model or a single layer."""
    return BUILDERS[type(source)](source, base)


def build_single(source: SingleSource, base: Path) -> keras.Model:
    """The functional model of `source`, with its weights.

    Raises:
        ConfigError: what the config says is wrong.
        RunError: GC051 if building it fails or gives no functional model.
    """
    model = check_functional(build_any(source, base), described(source))
    load_weights(model, source.weights, base)
    return model


def build_whole(source: SingleSource, base: Path) -> BuiltModel:
    """The model of `source`, as a source of the whole."""
    return BuiltModel(model=build_single(source, base))


def described(source: SingleSource) -> str:
    """How messages name `source`: `factory ./model.py:build`."""
    if isinstance(source, FactorySource):
        return f"factory {source.factory}"
    if isinstance(source, FileSource):
        return f"file {source.file}"
    return f"application {source.application}" if isinstance(source, ApplicationSource) else "layers"

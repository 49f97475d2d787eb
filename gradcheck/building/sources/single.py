"""One model from one source: every source but the user's own chain of parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import keras

from gradcheck.building.precision import widened
from gradcheck.building.sources import application, factory, file, layers
from gradcheck.building.sources.built import BuiltModel, is_functional, load_weights
from gradcheck.building.sources.live import LiveModel, build_live
from gradcheck.building.sources.subclassed import with_inputs
from gradcheck.config.sections.model import ApplicationSource, FactorySource, FileSource, InputSpec, LayersSource
from gradcheck.keras_private import called_with, calls_of_models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gradcheck.config.sections.model import SingleSource


class KnownBatch(NamedTuple):
    """What is known of the batch before the model is built.

    Attributes:
        batch_size: its length.
        inputs: returns its inputs, if they are the user's own, in the structure in which they are given; else None.
        training: the flag that the model is called with: a layer may be called, and built, in one case alone.
        devices: those on which the parts of a chain are built, one for each; none for TensorFlow's own choice.
    """

    batch_size: int | None = None
    inputs: Callable[[], Any] = lambda: None
    training: bool = False
    devices: tuple[str, ...] = ()


NOTHING = KnownBatch()

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


def build_single(source: SingleSource, base: Path, given: KnownBatch = NOTHING) -> keras.Model:
    """Build the model of `source`, with its weights; one that has no symbolic inputs is called on some.

    `given` tells what is known of the batch.

    Raises:
        ConfigError: if the config is wrong.
        RunError: GC051 if building it fails, or it is not known what the model is called on.
    """
    with calls_of_models() as calls:
        built = build_any(source, base)
    inputs = declared_inputs(source, built, calls, given)
    with called_with(given.training):
        model = with_inputs(built, described(source), inputs, given.batch_size)
    settle(source)
    load_weights(model, source.weights, base)
    return model


def settle(source: SingleSource) -> None:
    """Give what was built of a live object its values, if it is a copy."""
    if isinstance(source, LiveModel):
        source.settle()


def stated_inputs(source: SingleSource, model: Any) -> Any:
    """Return the KerasTensors that the source says a model is called on (`input`); None if the model has its own."""
    written = source.specs if isinstance(source, LiveModel) else getattr(source, "input", None)
    if written is None or isinstance(source, LayersSource) or is_functional(model):
        return None
    return keras.tree.map_structure(_as_tensor, written)


def declared_inputs(source: SingleSource, model: Any, calls: Mapping[int, Any], given: KnownBatch = NOTHING) -> Any:
    """Return the KerasTensors that a model is called on, in its structure; None if nothing tells or it has its own.

    They are those that its source states, else what its factory called it on (`calls`, by id), else what the batch
    holds, else those it was built for.
    """
    stated = stated_inputs(source, model)
    if stated is not None or isinstance(source, LayersSource) or is_functional(model):
        return stated
    inputs = calls.get(id(model))
    inputs = given.inputs() if inputs is None else inputs
    if inputs is not None:
        return keras.tree.map_structure(_as_tensor, inputs)
    built_for = model.get_build_config() if isinstance(model, keras.Layer) else None
    shapes = (built_for or {}).get("input_shape")
    return None if shapes is None else keras.tree.map_shape_structure(_as_tensor, shapes)


def _as_tensor(like: Any) -> Any:
    """Return a KerasTensor like a tensor, an array, an `InputSpec` of a config, or of a shape, with the batch open.

    Floats are of the dtype that Keras gives to what a model is called on.
    """
    floatx = keras.config.floatx()
    if isinstance(like, InputSpec):
        return keras.KerasTensor((None, *like.shape), widened(like.dtype or floatx))
    if isinstance(like, (list, tuple)):
        return keras.KerasTensor((None, *like[1:]), floatx)
    dtype = keras.backend.standardize_dtype(like.dtype)
    return keras.KerasTensor((None, *like.shape[1:]), floatx if keras.backend.is_float_dtype(dtype) else dtype)


def build_whole(source: SingleSource, base: Path, given: KnownBatch = NOTHING) -> BuiltModel:
    """Build the model of `source` as the whole model."""
    return BuiltModel(model=build_single(source, base, given))


def described(source: SingleSource) -> str:
    """Return the name of `source` in messages: `factory ./model.py:build`."""
    if isinstance(source, LiveModel):
        return source.name
    if isinstance(source, FactorySource):
        return f"factory {source.factory}"
    if isinstance(source, FileSource):
        return f"file {source.file}"
    return f"application {source.application}" if isinstance(source, ApplicationSource) else "layers"

"""The `model:` section: exactly one source, and what each source takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gradcheck.config.base import Reference, Section

#: Layers a config may ask for, before anything is built.
MAX_LAYERS = 20_000


class InputSpec(Section):
    """One model input, without the batch axis; None stands for an axis of any length."""

    shape: tuple[Annotated[int, Field(ge=1)] | None, ...]
    dtype: str | None = None  # None: the floatx of the precision


class LayerSpec(Section):
    """One entry of `layers`, in one normal form.

    `kind` is `layer` (a Keras layer, or a class of the user's own), `call` (an earlier layer again) or
    `numpy_layer`. `target` is the class name, `module:Name`, or for `call` the layer's name.
    """

    kind: Literal["layer", "call", "numpy_layer"] = "layer"
    target: str
    argument: Any = None  # the scalar of `Name: scalar`: the first positional argument
    kwargs: dict[str, Any] = Field(default_factory=dict)
    inputs: tuple[str, ...] | None = None
    call_kwargs: dict[str, Any] = Field(default_factory=dict)
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _normal_form(cls, raw: Any) -> Any:
        """A bare name, `Name: {kwargs}`, `Name: scalar`, with `inputs` and `call_kwargs` inside or beside."""
        if isinstance(raw, str):
            return {"target": raw}
        if not isinstance(raw, dict) or not raw:
            raise PydanticCustomError(
                "layer_form", "expected a layer: Name, Name: scalar, or Name: {arguments}", {"received": str(raw)}
            )
        if "target" in raw:
            return raw
        beside = {key: raw[key] for key in ("inputs", "call_kwargs") if key in raw}
        names = [key for key in raw if key not in beside]
        if len(names) != 1 or not isinstance(names[0], str):
            raise PydanticCustomError(
                "layer_form",
                "expected one layer name in an entry, received {names}",
                {"names": ", ".join(map(str, names)) or "none"},
            )
        return _layer_fields(names[0], raw[names[0]], beside)


def _layer_fields(name: str, value: Any, beside: dict[str, Any]) -> dict[str, Any]:
    """The fields of a LayerSpec for `name: value`."""
    if not isinstance(value, dict):
        argument = {} if value is None else {"argument": value}
        return {"target": name, **argument, **beside}
    inner = dict(value)
    routed = {key: inner.pop(key) for key in ("inputs", "call_kwargs") if key in inner} | beside
    if name == "call":
        fields = {"kind": "call", "target": inner.pop("layer", None), **routed}
        if "name" in inner:
            fields["name"] = inner.pop("name")
        return {**fields, **inner}  # what is left is unknown, and is refused by name
    if name == "numpy_layer":
        fields = {"kind": "numpy_layer", "target": inner.pop("class", None), "kwargs": inner.pop("kwargs", {}), **routed}
        if "name" in inner:
            fields["name"] = inner.pop("name")
        return {**fields, **inner}
    named = {"name": inner["name"]} if "name" in inner else {}
    return {"target": name, "kwargs": inner, **named, **routed}


class SourceBase(Section):
    """What every model source accepts."""

    weights: str | None = None  # a .weights.h5 file, to check at trained weights


class LayersSource(SourceBase):
    """`layers`: a chain or any DAG of Keras layers, written in YAML."""

    input: InputSpec | dict[str, InputSpec]
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=MAX_LAYERS)]
    outputs: tuple[str, ...] | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _one_or_several(cls, raw: Any) -> Any:
        """Decides by the presence of `shape`, so that a mistake inside is reported at its own key."""
        if isinstance(raw, dict) and ("shape" in raw or "dtype" in raw) and not isinstance(raw.get("shape"), dict):
            return InputSpec.model_validate(raw)
        if not isinstance(raw, dict) or not raw:
            raise PydanticCustomError("input_form", "expected {{shape: [...]}} or a mapping of input names to it", {})
        return raw


class FactorySource(SourceBase):
    """`factory`: the user's own function that returns a keras.Model."""

    factory: Reference
    kwargs: dict[str, Any] = Field(default_factory=dict)


class ApplicationSource(SourceBase):
    """`application`: a model of keras.applications."""

    application: str
    kwargs: dict[str, Any] = Field(default_factory=dict)


class FileSource(SourceBase):
    """`file`: a saved `.keras` model."""

    file: str
    trust: bool = False  # leave Keras's safe mode


def _source_tag(raw: Any) -> str | None:
    if isinstance(raw, SourceBase):
        return type(raw).__name__.removesuffix("Source").lower()
    present = [tag for tag in SOURCE_TAGS if isinstance(raw, dict) and tag in raw]
    return present[0] if len(present) == 1 else None


SOURCE_TAGS = ("layers", "factory", "application", "file", "segments")

SingleSource: TypeAlias = Annotated[
    Annotated[LayersSource, Tag("layers")]
    | Annotated[FactorySource, Tag("factory")]
    | Annotated[ApplicationSource, Tag("application")]
    | Annotated[FileSource, Tag("file")],
    Discriminator(
        _source_tag,
        custom_error_type="model_source",
        custom_error_message="expected exactly one of layers, factory, application, file",
    ),
]


class SegmentsSource(SourceBase):
    """`segments`: the user's own parts, chained; the whole is `reference`, else their composition."""

    segments: Annotated[tuple[SingleSource, ...], Field(min_length=2)]
    reference: SingleSource | None = None


ModelSource: TypeAlias = Annotated[
    Annotated[LayersSource, Tag("layers")]
    | Annotated[FactorySource, Tag("factory")]
    | Annotated[ApplicationSource, Tag("application")]
    | Annotated[FileSource, Tag("file")]
    | Annotated[SegmentsSource, Tag("segments")],
    Discriminator(
        _source_tag,
        custom_error_type="model_source",
        custom_error_message="expected exactly one of layers, factory, application, file, segments",
    ),
]

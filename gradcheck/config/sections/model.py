"""The `model:` section: exactly one source, and the keys of each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, WrapValidator

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, exclusion, misplaced_arguments, refusal, validated_at
from gradcheck.config.sections.scalars import Count, Flag, Names, Reference, Text  # noqa: TC001 - pydantic reads the annotations
from gradcheck.phrases import nearest

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic import ValidatorFunctionWrapHandler as Handler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

#: The largest number of layers in a config, checked before anything is built.
MAX_LAYERS = 20_000


class InputSpec(Section):
    """One model input, without the batch axis; null stands for an axis of any length."""

    shape: tuple[Count | None, ...] = Field(description="The shape without the batch axis.")
    dtype: Text | None = Field(default=None, description="Default: the float type of the precision.")


def _one_input_or_several(raw: Any, _: Handler) -> InputSpec | dict[str, InputSpec]:
    """Choose the form before validating: a union would report a mistake inside once for each form."""
    if not isinstance(raw, dict) or not raw:
        raise refusal(
            Finding(message=f"expected {{shape: [...]}}, or a mapping of input names to it. Received: {received(raw)}")
        )
    one = all(not isinstance(value, dict) for value in raw.values())
    return InputSpec.model_validate(raw) if one else _INPUTS_BY_NAME.validate_python(raw)


_INPUTS_BY_NAME = TypeAdapter(dict[str, InputSpec])

Inputs: TypeAlias = Annotated[InputSpec | dict[str, InputSpec], WrapValidator(_one_input_or_several)]

#: Arguments that take a layer, or a list of layers: a bare name there is that of a layer.
LAYER_ARGUMENTS = frozenset({"layer", "backward_layer", "cell", "cells"})
#: The keys of a layer's call; they stand among its arguments or beside its name.
CALL_KEYS = ("inputs", "call_kwargs")


class LayerCall(Section):
    """What every entry of `layers` takes: what the layer is called with, and its name."""

    inputs: Names | None = Field(
        default=None, description="Names of the tensors it takes; default the previous layer's output."
    )
    call_kwargs: dict[str, Any] = Field(default_factory=dict, description="Further arguments of the call.")
    name: Text | None = None


class SharedCall(LayerCall):
    """Calls an earlier layer again, with the same weights."""

    layer: Text = Field(description="The name of a layer above.")


class NumpyLayer(LayerCall):
    """A class of the user's own with NumPy forward(x) and backward(dy)."""

    class_: Reference = Field(alias="class", description="`package.module:Name` or `./file.py:Name`.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments of the class.")


class LayerSpec(LayerCall):
    """One layer of the model: `Name`, `Name: value` (its first argument), or `Name: {arguments}`.

    `kind` is `layer` (a Keras layer, or a class of the user's own), `call` (an earlier layer again) or
    `numpy_layer`. `target` is the class name, `module:Name`, or for `call` the layer's name. The `name` of a layer is
    also among its `kwargs`.
    """

    kind: Literal["layer", "call", "numpy_layer"] = "layer"
    target: Text
    argument: Any = None  # of `Name: value`: the first positional argument
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `Name`, `Name: {kwargs}` or `Name: value`.

        `CALL_KEYS` may stand among the kwargs or beside the name.
        """
        if isinstance(raw, str):
            return Written({"target": raw}, {"target": ()})
        if isinstance(raw, dict) and "target" in raw:
            return Written(raw)
        names = [key for key in raw if key not in CALL_KEYS] if isinstance(raw, dict) else []
        if len(names) != 1 or not isinstance(names[0], str):
            raise refusal(_not_one_layer(raw, names))
        name = names[0]
        beside = {key: raw[key] for key in CALL_KEYS if key in raw}
        fields = _FORMS.get(name, _plain_layer)(name, raw[name])
        places = {"target": (), "argument": (name,), "kwargs": (name,), **{key: (key,) for key in beside}}
        return Written({**fields, **beside}, places, rest=(name,))

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        about = handler.resolve_ref_schema(handler(LayerCall.__pydantic_core_schema__))["properties"]
        beside = {key: about[key] for key in CALL_KEYS}
        forms = {
            "call": handler(SharedCall.__pydantic_core_schema__),
            "numpy_layer": handler(NumpyLayer.__pydantic_core_schema__),
        }
        plain = {"anyOf": [{"type": "object", "properties": about}, {"not": {"type": "object"}}]}
        # One name, and beside it only the keys of its call.
        sizes = [
            {"required": list(keys), "minProperties": len(keys) + 1, "maxProperties": len(keys) + 1}
            for keys in ((), CALL_KEYS[:1], CALL_KEYS[1:], CALL_KEYS)
        ]
        properties = {**beside, **forms}
        return {
            "title": "Layer",
            "description": (cls.__doc__ or "").partition("\n")[0],
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "object", "properties": properties, "additionalProperties": plain, "anyOf": sizes},
            ],
        }


def _plain_layer(name: str, value: Any) -> dict[str, Any]:
    """Return the fields of a LayerSpec for a layer class and its arguments."""
    if not isinstance(value, dict):
        return {"target": name} if value is None else {"target": name, "argument": value}
    kwargs = {key: item for key, item in value.items() if key not in CALL_KEYS}
    return {"target": name, "kwargs": kwargs, **{key: value[key] for key in (*CALL_KEYS, "name") if key in value}}


def _shared_call(name: str, value: Any) -> dict[str, Any]:
    form = validated_at((name,), SharedCall, value)
    return {"kind": "call", "target": form.layer, **_about_call(form)}


def _numpy_layer(name: str, value: Any) -> dict[str, Any]:
    form = validated_at((name,), NumpyLayer, value)
    return {"kind": "numpy_layer", "target": form.class_, "kwargs": form.kwargs, **_about_call(form)}


def _about_call(form: LayerCall) -> dict[str, Any]:
    return {"inputs": form.inputs, "call_kwargs": form.call_kwargs, "name": form.name}


#: The entries of `layers` that do not name a layer class.
_FORMS = {"call": _shared_call, "numpy_layer": _numpy_layer}


def _not_one_layer(raw: Any, names: list[Any]) -> Finding:
    """Return the finding for an entry that names no layer, or several."""
    if len(names) > 1:
        return misplaced_arguments(raw, CALL_KEYS) or Finding(
            message=f"expected one layer in an entry. Received: {', '.join(map(str, names))}",
            path=(names[1],),
            at="key",
            help="begin each layer with `- `, and indent its arguments further than its name",
        )
    return Finding(message=f"expected a layer: Name, Name: value or Name: {{arguments}}. Received: {received(raw)}")


class SourceBase(Section):
    """What every model source accepts."""

    weights: Text | None = Field(default=None, description="A .weights.h5 file, to check at trained weights.")


class LayersSource(SourceBase):
    """A chain or any DAG of Keras layers, written in YAML."""

    input: Inputs = Field(description="{shape: [...]} without the batch axis, or a mapping of names to it.")
    layers: Annotated[tuple[LayerSpec, ...], Field(min_length=1, max_length=MAX_LAYERS)] = Field(
        description="The layers in order."
    )
    outputs: Names | None = Field(default=None, description="Names of the model's outputs; default the last layer's.")


_CALLED_ON = (
    "For a model without symbolic inputs, what it is called on: {shape: [...]} without the batch axis, or a mapping."
)


class FactorySource(SourceBase):
    """The user's own function that returns a keras.Model."""

    factory: Reference = Field(description="`package.module:Name` or `./file.py:Name`.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the factory.")
    input: Inputs | None = Field(default=None, description=_CALLED_ON)


class ApplicationSource(SourceBase):
    """A model of keras.applications."""

    application: Text = Field(description="Its name in keras.applications, such as ResNet50.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Its keyword arguments.")


class FileSource(SourceBase):
    """A saved model."""

    file: Text = Field(description="A .keras file.")
    trust: Flag = Field(default=False, description="Leave Keras's safe mode: the file may run code.")
    input: Inputs | None = Field(default=None, description=_CALLED_ON)


_SINGLE: dict[str, type[SourceBase]] = {
    "layers": LayersSource,
    "factory": FactorySource,
    "application": ApplicationSource,
    "file": FileSource,
}


def _read_source(raw: Any, sources: dict[str, type[SourceBase]]) -> SourceBase:
    """Validate `raw` as the one source that its keys name, so that every mistake is reported at its own key."""
    if isinstance(raw, SourceBase):
        return raw
    if not isinstance(raw, dict):
        what = f"expected a mapping with one of {', '.join(sources)}. Received: {received(raw)}"
        raise refusal(Finding(message=what))
    # Without an exact key the nearest misspelt one decides: its source then reports the unknown key.
    named = next((key for key in sources if raw.get(key) is not None), None) or next(
        (near for key in raw if (near := nearest(key, sources)) in sources and key not in _OTHER_KEYS), None
    )
    findings = exclusion(raw, tuple(sources), needs_one=named is None)
    if findings or named is None:
        raise refusal(*findings)
    source: SourceBase = sources[named].model_validate(raw)
    return source


_OTHER_KEYS = frozenset({"input", "outputs", "kwargs", "trust", "weights", "reference"})


def _read_single(raw: Any, _: Handler) -> SourceBase:
    return _read_source(raw, _SINGLE)


SingleSource: TypeAlias = Annotated[
    LayersSource | FactorySource | ApplicationSource | FileSource, WrapValidator(_read_single)
]


class SegmentsSource(SourceBase):
    """The user's own parts, chained; the whole is `reference`, else their composition."""

    segments: Annotated[tuple[SingleSource, ...], Field(min_length=2)] = Field(description="The parts in order.")
    reference: SingleSource | None = Field(default=None, description="The whole model, whose weights the parts get.")


def _read_any(raw: Any, _: Handler) -> SourceBase:
    return _read_source(raw, {**_SINGLE, "segments": SegmentsSource})


ModelSource: TypeAlias = Annotated[
    LayersSource | FactorySource | ApplicationSource | FileSource | SegmentsSource, WrapValidator(_read_any)
]

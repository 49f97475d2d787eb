"""The `data:` section: the batch, and how it is generated or loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field, StrictInt, TypeAdapter, ValidationInfo, WrapValidator, field_validator, model_validator

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, refusal
from gradcheck.config.sections.scalars import Count, Number, Reference, Text  # noqa: TC001 - pydantic reads the annotations
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic import ValidatorFunctionWrapHandler as Handler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class NormalOptions(Section):
    """Normal numbers."""

    mean: Number = 0.0
    stddev: Annotated[Number, Field(ge=0)] = 1.0


class _Range:
    """A range, whose ends have other names in other libraries: these are accepted too."""

    other_names: ClassVar[dict[str, str]] = {}

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields under the names of this section."""
        if not isinstance(raw, dict):
            return Written(raw)
        fields: dict[Any, Any] = {}
        places: dict[Any, tuple[Any, ...]] = {}
        for key, value in raw.items():
            own = cls.other_names.get(str(key), key)
            if own in fields:
                message = f"`{key}` and `{places[own][0]}` are the same"
                raise refusal(Finding(message=message, path=(key,), at="key", code="GC007", help="keep one of them"))
            fields[own], places[own] = value, (key,)
        return Written(fields, places)


class UniformOptions(_Range, Section):
    """Numbers from `minval` up to, not including, `maxval`; `low` and `high` are other names of these."""

    other_names: ClassVar[dict[str, str]] = {"low": "minval", "high": "maxval"}

    minval: Number = 0.0
    maxval: Number = 1.0


class IntegersOptions(_Range, Section):
    """Whole numbers from `low` up to, not including, `high`; `minval` and `maxval` are other names of these."""

    other_names: ClassVar[dict[str, str]] = {"minval": "low", "maxval": "high"}

    high: StrictInt | None = None  # the first: `integers: 5` means 0 to 4
    low: StrictInt = 0


class ConstantOptions(Section):
    """One value everywhere, or an array written as lists."""

    value: Any


class NpzOptions(Section):
    """An array of a `.npz` file."""

    file: Text
    key: Text | None = None


#: The kinds of arrays. A single value in place of the options is the first option of its kind.
ARRAY_KINDS: dict[str, type[Section]] = {
    "normal": NormalOptions,
    "uniform": UniformOptions,
    "integers": IntegersOptions,
    "constant": ConstantOptions,
    "npz": NpzOptions,
}


class ArraySpec(Section):
    """How one array is made: `kind`, `kind: {options}`, or `kind: value` for its first option."""

    kind: Literal["normal", "uniform", "integers", "constant", "npz"]
    options: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `normal`, `{uniform: {minval: 0}}`, `{constant: 3.0}` or `{npz: file.npz}`."""
        if isinstance(raw, dict) and "kind" in raw:
            return Written(raw)
        entry = {raw: None} if isinstance(raw, str) else raw
        if not isinstance(entry, dict) or len(entry) != 1:
            known = ", ".join(ARRAY_KINDS)
            raise refusal(Finding(message=f"expected one of {known}, with its options. Received: {received(raw)}"))
        ((kind, value),) = entry.items()
        path: tuple[str, ...] = () if isinstance(raw, str) else (kind,)
        if kind not in ARRAY_KINDS:
            help_ = suggestion(kind, ARRAY_KINDS, "Known kinds")
            raise refusal(Finding(message=f"unknown kind of array `{kind}`", path=path, at="key", help=help_))
        if value is None or isinstance(value, dict):
            return Written({"kind": kind, "options": value or {}}, places={"options": path})
        first = next(iter(ARRAY_KINDS[kind].model_fields))
        # `{constant: 3.0}` stands for `{constant: {value: 3.0}}`: a mistake in it is at the value as written.
        return Written({"kind": kind, "options": {first: value}}, places={"options": path})

    @field_validator("options", mode="before")
    @classmethod
    def _options_of_the_kind(cls, raw: Any, info: ValidationInfo) -> Any:
        """Validate the options of the kind; options that were not given stay absent."""
        section = ARRAY_KINDS[info.data["kind"]].model_validate(raw) if "kind" in info.data else None
        return raw if section is None else section.model_dump(exclude_unset=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "title": "Array",
            "description": cls.__doc__ or "",
            "anyOf": [
                {"enum": ["normal", "uniform", "integers"]},
                {
                    "type": "object",
                    "properties": {kind: _kind_schema(model, handler) for kind, model in ARRAY_KINDS.items()},
                    "additionalProperties": False,
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        }


def _kind_schema(model: type[Section], handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """Return the schema of a kind: its options as a mapping, or the value of the first option."""
    options = handler(model.__pydantic_core_schema__)
    fields = handler.resolve_ref_schema(options)
    written = fields["properties"]
    alone = next(iter(written.values()))
    written |= {other: written[own] for other, own in getattr(model, "other_names", {}).items()}
    needed = [] if fields.get("required") else [{"type": "null"}]
    return {"anyOf": [options, {**alone, "not": {"type": "object"}}, *needed]}


def _looks_like_array(raw: Any) -> bool:
    """Whether `raw` is the spec of one array, not a mapping of names to specs."""
    if not isinstance(raw, dict):
        return True
    if any(key in ARRAY_KINDS for key in raw):
        return True
    # A single unknown key is a misspelt kind unless its value is a spec itself.
    return len(raw) == 1 and not any(
        value in ARRAY_KINDS if isinstance(value, str) else isinstance(value, dict) and set(value) & set(ARRAY_KINDS)
        for value in raw.values()
    )


def _one_or_by_name(raw: Any, _: Handler) -> ArraySpec | dict[str, ArraySpec]:
    """Choose the form before validating: a union would report a mistake inside once for each form."""
    return ArraySpec.model_validate(raw) if _looks_like_array(raw) else _BY_NAME.validate_python(raw)


_BY_NAME = TypeAdapter(Annotated[dict[str, ArraySpec], Field(min_length=1)])

Arrays: TypeAlias = Annotated[ArraySpec | dict[str, ArraySpec], WrapValidator(_one_or_by_name)]


class ImagesSpec(Section):
    """A folder with one sub-folder of images a class."""

    directory: Text = Field(description="The folder, relative to the config.")
    image_size: tuple[Count, Count] = Field(description="Height and width that every image is resized to.")


class DataConfig(Section):
    """One batch. `inputs` and `targets` are one spec, or one by name; `npz`, `factory` and `images` give both."""

    exclusive: ClassVar[tuple[str, ...]] = ("npz", "factory", "images")

    batch_size: Count = Field(default=2, description="Examples in the batch.")
    inputs: Arrays | None = Field(default=None, description="One array spec, or one by input name. Default: normal.")
    targets: Arrays | None = Field(
        default=None, description="One array spec, or one by output name. Default: what the loss needs."
    )
    sample_weight: Arrays | None = Field(default=None, description="Weights of the examples in the loss.")
    npz: Text | None = Field(default=None, description="A file with arrays x and y; never unpickled.")
    factory: Reference | None = Field(default=None, description="A function that returns the batch.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the factory.")
    images: ImagesSpec | None = Field(default=None, description="Images in one folder a class.")

    @model_validator(mode="after")
    def _kwargs_need_a_factory(self) -> DataConfig:
        if self.kwargs and self.factory is None:
            raise refusal(
                Finding(
                    message="`kwargs` go to a factory, and there is none",
                    path=("kwargs",),
                    at="key",
                    code="GC007",
                    help="add `factory`, or remove `kwargs`",
                )
            )
        return self

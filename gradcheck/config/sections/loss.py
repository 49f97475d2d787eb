"""The `loss:` section: a Keras loss, the user's function, or one of these for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter, WrapValidator

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, refusal, single_key
from gradcheck.config.sections.scalars import Reference, Text  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic import ValidatorFunctionWrapHandler as Handler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

RANDOM_COTANGENT = "random_cotangent"


class LossSpec(Section):
    """One loss: a Keras loss by name (`Name` or `Name: {kwargs}`), `random_cotangent`, or `{factory: ...}`."""

    name: Text | None = None
    factory: Reference | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `Name`, `{Huber: {delta: 2.0}}` or `{factory: "./losses.py:mine", kwargs: {...}}`."""
        if isinstance(raw, str):
            return Written({"name": raw}, places={"name": ()})
        if isinstance(raw, dict) and ("factory" in raw or "name" in raw):
            return Written(raw, known=("factory", "kwargs"))
        found = single_key(raw)
        if found is None:
            raise refusal(
                Finding(
                    message=f"expected a loss: Name, Name: {{kwargs}} or {{factory: ...}}. Received: {received(raw)}"
                )
            )
        name, kwargs = found
        return Written(
            {"name": name, "kwargs": {} if kwargs is None else kwargs}, places={"name": (), "kwargs": (name,)}
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        own = handler(core_schema)
        fields = handler.resolve_ref_schema(own)["properties"]
        return {
            "title": "Loss",
            "description": cls.__doc__ or "",
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"factory": fields["factory"], "kwargs": fields["kwargs"]},
                    "required": ["factory"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "propertyNames": {"not": {"enum": ["factory", "name"]}},
                    "additionalProperties": {"type": ["object", "null"]},
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        }


def _begins_a_loss(raw: Any) -> bool:
    """Whether a value can only be a loss: a factory, or a single name with a capital, as Keras writes them."""
    if not isinstance(raw, dict):
        return False
    found = single_key(raw)
    return "factory" in raw or (found is not None and (found[0][:1].isupper() or found[0] == RANDOM_COTANGENT))


def _looks_like_loss(raw: dict[Any, Any]) -> bool:
    """Whether a mapping is one loss, not a mapping of output names to losses."""
    found = single_key(raw)
    if found is None or "factory" in raw:
        return "factory" in raw
    value = found[1]
    return value is None or (_begins_a_loss(raw) and not isinstance(value, str) and not _begins_a_loss(value))


def _one_or_several(raw: Any, _: Handler) -> LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec]:
    """Choose the form before validating: a union would report a mistake inside once for each form."""
    if isinstance(raw, (list, tuple)):
        return _IN_ORDER.validate_python(raw)
    if isinstance(raw, dict) and not _looks_like_loss(raw):
        return _BY_NAME.validate_python(raw)
    return LossSpec.model_validate(raw)


_IN_ORDER = TypeAdapter(Annotated[tuple[LossSpec, ...], Field(min_length=1)])
_BY_NAME = TypeAdapter(Annotated[dict[str, LossSpec], Field(min_length=1)])

Losses: TypeAlias = Annotated[LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec], WrapValidator(_one_or_several)]

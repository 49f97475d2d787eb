"""The `loss:` section: a Keras loss, a function of the user's own, or one of these per output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter, WrapValidator

from gradcheck.config.base import Section, Written, refusal, single_key
from gradcheck.config.findings import Finding, received
from gradcheck.config.scalars import Reference, Text  # noqa: TC001 - pydantic reads the annotations

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
        """`MeanSquaredError`, `{Huber: {delta: 2.0}}`, `{factory: "./losses.py:mine", kwargs: {...}}`."""
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


def _looks_like_loss(raw: Any) -> bool:
    """Whether a mapping is one loss, not losses by output name: Keras losses begin with a capital."""
    if "factory" in raw:
        return True
    found = single_key(raw)
    if found is None:
        return False
    name, kwargs = found
    named = name[:1].isupper() or name == RANDOM_COTANGENT
    return not isinstance(kwargs, (str, dict)) or (named and isinstance(kwargs, dict) and not _looks_like_loss(kwargs))


def _one_or_several(raw: Any, _: Handler) -> LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec]:
    """Decides before validating, so that a mistake inside is reported once and at its own key."""
    if isinstance(raw, (list, tuple)):
        return _IN_ORDER.validate_python(raw)
    if isinstance(raw, dict) and not _looks_like_loss(raw):
        return _BY_NAME.validate_python(raw)
    return LossSpec.model_validate(raw)


_IN_ORDER = TypeAdapter(Annotated[tuple[LossSpec, ...], Field(min_length=1)])
_BY_NAME = TypeAdapter(Annotated[dict[str, LossSpec], Field(min_length=1)])

Losses: TypeAlias = Annotated[LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec], WrapValidator(_one_or_several)]

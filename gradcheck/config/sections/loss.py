"""The `loss:` section: a Keras loss or the user's function, one for each output or one for all of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, TypeAdapter, WrapValidator, model_validator

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, refusal, single_key
from gradcheck.config.sections.scalars import REFERENCE, Flag, Reference, Text
from gradcheck.phrases import nearest, suggestion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import GetJsonSchemaHandler
    from pydantic import ValidatorFunctionWrapHandler as Handler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

RANDOM_COTANGENT = "random_cotangent"
#: Short names that Keras accepts, in their long form.
_ALIASES = {
    "bce": "binarycrossentropy",
    "kld": "kldivergence",
    "mae": "meanabsoluteerror",
    "mape": "meanabsolutepercentageerror",
    "mse": "meansquarederror",
    "msle": "meansquaredlogarithmicerror",
}

#: The keys by which a mapping is the user's own loss, not a Keras loss or a mapping of outputs.
_OWN = ("factory", "of_model")


class LossSpec(Section):
    """One loss: a Keras loss by name (`Name` or `Name: {kwargs}`), `random_cotangent`, or code of the user's own.

    `{factory: ...}` is a function (y, output), with `joint: true` one of all targets and all outputs; `{of_model: ...}`
    is a function (model, x, y).
    """

    exclusive: ClassVar[tuple[str, ...]] = _OWN

    name: Text | None = None
    factory: Reference | None = Field(default=None, description="A function that returns the loss.")
    joint: Flag = Field(default=False, description="One call with all targets and all outputs.")
    of_model: Reference | None = Field(
        default=None, description="A function (model, x, y) to the scalar loss, which calls the model itself."
    )
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @property
    def over_all(self) -> str | None:
        """The key by which this is the loss of all outputs together; None if it is that of one output."""
        return "of_model" if self.of_model is not None else "joint" if self.joint else None

    @model_validator(mode="after")
    def _joint_is_a_function(self) -> LossSpec:
        if self.joint and self.factory is None:
            message = "`joint` is for a `factory`, whose function is called with all targets and all outputs"
            raise refusal(Finding(message=message, path=("joint",), at="key", code="GC007", help="add `factory`"))
        return self

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `Name`, `{Huber: {delta: 2.0}}` or `{factory: "./losses.py:mine", kwargs: {...}}`."""
        if isinstance(raw, str):
            return Written({"name": raw}, places={"name": ()})
        if isinstance(raw, dict) and any(key in raw for key in (*_OWN, "name")):
            return Written(raw, known=("factory", "joint", "of_model", "kwargs"))
        found = single_key(raw)
        if found is None:
            raise refusal(
                Finding(
                    message="expected a loss: Name, Name: {kwargs}, {factory: ...} or {of_model: ...}. "
                    f"Received: {received(raw)}"
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
                    "properties": {key: fields[key] for key in ("factory", "joint", "kwargs")},
                    "required": ["factory"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {key: fields[key] for key in ("of_model", "kwargs")},
                    "required": ["of_model"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "propertyNames": {"not": {"enum": [*_OWN, "joint", "name"]}},
                    "additionalProperties": {"type": ["object", "null"]},
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ],
        }


def canonical_name(name: str | None) -> str:
    """Return the name of a Keras loss in one spelling: `meansquarederror` for `MSE`, "" for None."""
    plain = (name or "").replace("_", "").lower()
    return _ALIASES.get(plain, plain)


def _is_own(raw: dict[Any, Any]) -> bool:
    return any(key in raw for key in _OWN)


def _begins_a_loss(raw: Any) -> bool:
    """Whether a value can only be a loss: the user's own, or a single name with a capital, as Keras writes them."""
    if not isinstance(raw, dict):
        return False
    found = single_key(raw)
    return _is_own(raw) or (found is not None and (found[0][:1].isupper() or found[0] == RANDOM_COTANGENT))


def misspelt_own(raw: Any) -> str | None:
    """Return the key of a mapping that misspells one of `_OWN`: its value refers to code, as no Keras loss does."""
    pairs = raw.items() if isinstance(raw, dict) and not _is_own(raw) else ()
    codes = (key for key, value in pairs if isinstance(value, str) and re.match(REFERENCE, value))
    return next((key for key in codes if nearest(key, _OWN)), None)


def looks_like_loss(raw: dict[Any, Any]) -> bool:
    """Whether a mapping is one loss, not a mapping of output names to losses."""
    found = single_key(raw)
    if found is None or _is_own(raw):
        return _is_own(raw)
    value = found[1]
    return value is None or (_begins_a_loss(raw) and not isinstance(value, str) and not _begins_a_loss(value))


def _one_or_several(raw: Any, _: Handler) -> LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec]:
    """Choose the form before validating: a union would report a mistake inside once for each form."""
    misspelt = misspelt_own(raw)
    if misspelt is not None:
        help_ = suggestion(misspelt, _OWN, "Losses of your own are")
        raise refusal(
            Finding(message=f"unknown key `{misspelt}`", path=(misspelt,), at="key", code="GC003", help=help_)
        )
    if isinstance(raw, (list, tuple)):
        listed = _IN_ORDER.validate_python(raw)
        _require_single(dict(enumerate(listed)))
        return listed
    if isinstance(raw, dict) and not looks_like_loss(raw):
        named = _BY_NAME.validate_python(raw)
        _require_single(named)
        return named
    return LossSpec.model_validate(raw)


def _require_single(specs: Mapping[Any, LossSpec]) -> None:
    """Raise for a loss of all outputs where each output has one of its own."""
    findings = [
        Finding(
            message=f"`{spec.over_all}` is one loss for all outputs, and stands here as that of one of them",
            path=(place, spec.over_all),
            at="key",
            code="GC007",
            help="write it directly below `loss`, in place of the losses of the outputs",
        )
        for place, spec in specs.items()
        if spec.over_all is not None
    ]
    if findings:
        raise refusal(*findings)


_IN_ORDER = TypeAdapter(Annotated[tuple[LossSpec, ...], Field(min_length=1)])
_BY_NAME = TypeAdapter(Annotated[dict[str, LossSpec], Field(min_length=1)])

Losses: TypeAlias = Annotated[LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec], WrapValidator(_one_or_several)]

"""What every part of the config shares: strict, frozen models whose mistakes are found at the key as written.

A shorthand (`- vjp`, `- naive: {expect: mismatch}`) is brought to one normal form before pydantic sees it, along with
the place where each field was written. So every path that leaves a section in an error is a path in the YAML.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from gradcheck.config.findings import Finding, KeyPath
from gradcheck.config.sections.pydantic_errors import OWN_ERROR, finding
from gradcheck.phrases import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import GetJsonSchemaHandler, ModelWrapValidatorHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema, ErrorDetails
    from typing_extensions import Self


@dataclass(frozen=True)
class Written:
    """The fields of a section, and where in the YAML each was written, relative to the section's own value."""

    fields: Any
    places: Mapping[str, KeyPath] = field(default_factory=dict)
    rest: KeyPath = ()  # above the fields that `places` does not name
    known: tuple[str, ...] = ()  # the keys that can be written; default the names of the fields

    def place(self, path: KeyPath) -> KeyPath:
        """The path as written for a path of fields."""
        if not path:
            return ()
        return (*self.places.get(path[0], (*self.rest, path[0])), *path[1:])


class Section(BaseModel):
    """A mapping of the config: unknown keys are errors, nothing changes after it was read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Keys of which only one may be given (exactly one where `needs_one`).
    exclusive: ClassVar[tuple[str, ...]] = ()
    needs_one: ClassVar[bool] = False

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """The fields for what the YAML says; a section with shorthand forms overrides this.

        Raises:
            ValidationError: for a value that has none of the section's forms, made by `refusal`.
        """
        return Written(raw)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validates the normal form; every mistake leaves in words and at its written place."""
        if isinstance(raw, cls):
            return raw
        written = cls.as_written(raw)
        findings = exclusion(written.fields, cls.exclusive, needs_one=cls.needs_one)
        try:
            section = handler(written.fields)
        except ValidationError as error:
            findings += findings_of(error, written.known or tuple(cls.model_fields), written)
        if findings:
            raise refusal(*findings)
        return section

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        written = handler.resolve_ref_schema(schema)
        if cls.exclusive and cls.needs_one:
            written["oneOf"] = [{"required": [key]} for key in cls.exclusive]
        elif cls.exclusive:
            written["not"] = {"anyOf": [{"required": list(pair)} for pair in combinations(cls.exclusive, 2)]}
        return schema


SectionT = TypeVar("SectionT", bound=Section)


def refusal(*findings: Finding) -> ValidationError:
    """The error for a validator to raise; the paths of `findings` are relative to the value being validated."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(OWN_ERROR, "{message}", {"message": item.message, "finding": item}),
            loc=item.path,
            input=None,
        )
        for item in findings
    ]
    return ValidationError.from_exception_data("config", details)


def findings_of(error: ValidationError, known: Sequence[str] = (), written: Written | None = None) -> list[Finding]:
    """The mistakes in `error` in words. `known` are the keys of the section, `written` where its fields stand."""
    details = error.errors(include_url=False)
    meant = {nearest(item["loc"][-1], known) for item in details if item["type"] == "extra_forbidden"}
    return [finding(_placed(item, written), known) for item in details if not _follows_from_another(item, meant)]


def _follows_from_another(details: ErrorDetails, meant: set[str | None]) -> bool:
    """A misspelt key is not a missing one as well, nor is a list too short because an item of it is wrong."""
    if details["type"] == "missing":
        return details["loc"][-1] in meant
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def validated_at(path: KeyPath, section: type[SectionT], raw: Any) -> SectionT:
    """`raw` as a `section` that was written at `path` of the value being validated."""
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise refusal(*(replace(item, path=(*path, *item.path)) for item in findings_of(error))) from None


def _placed(details: ErrorDetails, written: Written | None) -> ErrorDetails:
    return details if written is None else {**details, "loc": written.place(details["loc"])}


def exclusion(fields: Any, keys: Sequence[str], *, needs_one: bool) -> list[Finding]:
    """A finding for each key of `keys` after the first one given, or where none is given and one is needed."""
    if not isinstance(fields, dict) or not keys:
        return []
    present = [key for key in fields if key in keys and fields[key] is not None]
    names = ", ".join(keys)
    if not present and needs_one:
        return [Finding(message=f"missing key: exactly one of {names}", at="key", code="GC005")]
    return [
        Finding(
            message=f"`{key}` and `{present[0]}` exclude each other",
            path=(key,),
            at="key",
            code="GC007",
            help=f"keep one of {names}",
        )
        for key in present[1:]
    ]


def single_key(value: Any) -> tuple[str, Any] | None:
    """The key and value of a mapping with exactly one text key, else None."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if isinstance(key, str):
            return key, inner
    return None


def misplaced_arguments(raw: Any, known: Sequence[str]) -> Finding | None:
    """A list entry such as `{naive: null, expect: mismatch}`: the arguments are not indented below the name."""
    if not isinstance(raw, dict) or len(raw) < 2 or raw[next(iter(raw))] is not None:  # noqa: PLR2004 - a name and more
        return None
    name, key = list(raw)[:2]
    if key in known:
        return None
    return Finding(
        message=f"`{key}` stands beside `{name}`, not below it",
        path=(key,),
        at="key",
        code="GC003",
        help=f"indent the arguments of `{name}` further than its name, or write `{name}: {{{key}: ...}}`",
    )

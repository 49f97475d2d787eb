"""The base of every part of the config: strict, frozen models that report each mistake at the key as written.

A shorthand (`- vjp`, `- naive: {expect: mismatch}`) is converted to one normal form before pydantic validates it, and
the place where each field was written is recorded. So the path of every error of a section is a path in the YAML.
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
    """The fields of a section, and the path in the YAML at which each was written, relative to the section's value."""

    fields: Any
    places: Mapping[str, KeyPath] = field(default_factory=dict)
    rest: KeyPath = ()  # the path above each field that `places` does not name
    known: tuple[str, ...] = ()  # the keys that a user can write; default: the names of the fields

    def place(self, path: KeyPath) -> KeyPath:
        """Return the path in the YAML for a path of fields."""
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
        """Return the fields of a value in the YAML. A section with shorthand forms overrides this.

        Raises:
            ValidationError: made by `refusal`, if the value has none of the section's forms.
        """
        return Written(raw)

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Validate the normal form; raise every mistake in words, at the path as written."""
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
    """Return the error for a validator to raise. The paths of `findings` are relative to the value being validated."""
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
    """Return the mistakes of `error` in words.

    Args:
        error: pydantic's error.
        known: the keys of the section, for suggestions.
        written: the fields of the section with their paths in the YAML.
    """
    details = error.errors(include_url=False)
    meant = {nearest(item["loc"][-1], known) for item in details if item["type"] == "extra_forbidden"}
    return [finding(_placed(item, written), known) for item in details if not _follows_from_another(item, meant)]


def _follows_from_another(details: ErrorDetails, meant: set[str | None]) -> bool:
    """Whether an error only repeats another: a misspelt key is also missing; a list with a wrong item, too short."""
    if details["type"] == "missing":
        return details["loc"][-1] in meant
    return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]


def validated_at(path: KeyPath, section: type[SectionT], raw: Any) -> SectionT:
    """Validate `raw` as a `section` that was written at `path` of the value being validated."""
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise refusal(*(replace(item, path=(*path, *item.path)) for item in findings_of(error))) from None


def _placed(details: ErrorDetails, written: Written | None) -> ErrorDetails:
    return details if written is None else {**details, "loc": written.place(details["loc"])}


def exclusion(fields: Any, keys: Sequence[str], *, needs_one: bool) -> list[Finding]:
    """Return a finding for each given key of `keys` after the first, or one if none is given and `needs_one`."""
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
    """Return the key and value of a mapping with exactly one key, a string; otherwise None."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, inner),) = value.items()
        if isinstance(key, str):
            return key, inner
    return None


def misplaced_arguments(raw: Any, known: Sequence[str]) -> Finding | None:
    """Return the finding for an entry such as `{naive: null, expect: mismatch}`: its arguments are not indented.

    None for any other entry.
    """
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

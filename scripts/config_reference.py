"""The page of every key of a config, made of the JSON Schema. Writes docs/config-reference.md."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.config import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).resolve().parent.parent / "docs" / "config-reference.md"
_INTRODUCTION = """# Every key of a config

Made of the schema, `gradcheck schema`: each key, what it may be, its default, and what it means. A key without a
default may be left out unless it says *required*. [Writing a config](config.md) has examples.
"""
_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
_COLUMNS = ("key", "value", "default", "meaning")


def document(schema: dict[str, Any]) -> str:
    """Return the page: a table of the keys at the top, and a section for each kind of value below."""
    sections = [_INTRODUCTION, *_section("Top level", {**schema, "description": ""})]
    for part in schema["$defs"].values():
        sections += _section(_heading(part["title"]), part)
    return "\n".join(sections)


def _section(heading: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {heading}\n"
    if schema.get("description"):
        yield _line(schema["description"]) + "\n"
    forms = [form for form in schema.get("anyOf", []) if not form.get("properties")]
    if forms:
        more = len(forms) < len(schema["anyOf"])
        yield f"Written as {_one_of(forms)}{', or with these keys:' if more else '.'}\n"
    rows = list(_rows_of_all(schema))
    if rows:
        yield "\n".join(f"| {' | '.join(row)} |" for row in (_COLUMNS, ("---",) * len(_COLUMNS), *rows)) + "\n"


def _rows_of_all(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a schema, and of the mappings among its forms, each once."""
    alternatives = [form for form in schema.get("anyOf", []) if form.get("properties")]
    rows = [row for form in (schema, *alternatives) for row in _rows(form)]
    return iter(dict.fromkeys(rows))


def _rows(schema: dict[str, Any], above: str = "") -> Iterator[tuple[str, ...]]:
    """Yield a row for each key, and below it those of the keys that its value has if that has no section of its own."""
    properties = schema.get("properties", {})
    inner = {key: _mapping(value) for key, value in properties.items()}
    shared = _shared([mapping for mapping in inner.values() if mapping])
    for key, value in properties.items():
        default = "*required*" if key in schema.get("required", ()) else _default(value)
        nested = inner[key]
        own = {k: v for k, v in nested["properties"].items() if k not in shared} if nested else {}
        meaning = value.get("description") or (nested or {}).get("description", "")
        if nested and not own:  # only what all of them take
            meaning = "[Methods](methods.md) says what it does."
        yield f"{above}`{key}`", _short_form(value) if nested else _form(value), default, _line(meaning)
        if nested and own:
            yield from _rows({**nested, "properties": own}, f"{above}`{key}`: ")
    if shared:
        yield from _rows({"properties": shared}, f"{above}any of them: ")


def _shared(mappings: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the keys that all of several mappings have with the same meaning."""
    if len(mappings) < 3:  # noqa: PLR2004 - of fewer, each shows all of its own
        return {}
    first = mappings[0]["properties"]
    return {key: value for key, value in first.items() if all(m["properties"].get(key) == value for m in mappings)}


def _mapping(value: dict[str, Any]) -> dict[str, Any] | None:
    """Return the form of a value that is a mapping with keys of its own, if it has one."""
    return next((form for form in (value, *value.get("anyOf", ())) if form.get("properties")), None)


def _short_form(value: dict[str, Any]) -> str:
    """Say what may stand in place of a mapping whose keys the next rows show."""
    forms = [form for form in value.get("anyOf", ()) if not form.get("properties") and form.get("type") != "null"]
    return f"a mapping, or {_one_of(forms)}" if forms else "a mapping"


def _form(value: dict[str, Any]) -> str:
    """Say in words what a value may be."""
    if "$ref" in value:
        heading = _heading_of_reference(value["$ref"])
        return f"[{heading[0].lower()}{heading[1:]}](#{heading.lower().replace(' ', '-')})"
    if "anyOf" in value:
        return _one_of(value["anyOf"])
    if "enum" in value:
        return " or ".join(", ".join(f"`{_plain(word)}`" for word in value["enum"]).rsplit(", ", 1))
    if "const" in value:
        return f"`{_plain(value['const'])}`"
    return _form_of_type(value)


def _form_of_type(value: dict[str, Any]) -> str:
    kind = value.get("type")
    if kind == "array":
        items = _form(value["items"]) if "items" in value else ""
        several = "anyOf" in value.get("items", ())
        return f"list of ({items})" if several else f"list of {items}" if items else "list"
    if kind == "object":
        of = value.get("additionalProperties")
        return f"mapping of names to {_form(of)}" if isinstance(of, dict) and of else "mapping"
    if isinstance(kind, list):
        return " or ".join(_form_of_type({**value, "type": one}) for one in kind if one != "null")
    bound = f" from {value['minimum']} on" if value.get("minimum") is not None else ""
    return _WORDS.get(str(kind), "one value") + bound


def _one_of(forms: list[dict[str, Any]]) -> str:
    """Join the forms; null stands for the default and is left out."""
    return " or ".join(dict.fromkeys(_form(form) for form in forms if form.get("type") != "null"))


def _heading_of_reference(reference: str) -> str:
    return _heading(reference.rpartition("/")[2])


def _heading(title: str) -> str:
    """Return a class's name as words: `LayersSource` is Layers source, `DataConfig` Data."""
    name = re.sub(r"(?<=[a-z])(Config|Spec)$", "", title)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    return "" if default is None or default == {} else f"`{_plain(default)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def main() -> None:
    """Write the page anew."""
    PAGE.write_text(document(json_schema()), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

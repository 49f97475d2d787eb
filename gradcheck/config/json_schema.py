"""The JSON Schema of a config as written in YAML, with its shorthand forms, for editors."""

from __future__ import annotations

from typing import Any

from gradcheck.config.schema import Config


def json_schema() -> dict[str, Any]:
    """Return the schema, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}

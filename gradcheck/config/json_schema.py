"""The JSON Schema of the config as it is written in YAML, shorthand forms and all, for editors."""

from __future__ import annotations

from typing import Any

from gradcheck.config.schema import Config


def json_schema() -> dict[str, Any]:
    """The schema, draft 2020-12."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Config.model_json_schema()}

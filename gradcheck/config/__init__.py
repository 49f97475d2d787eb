"""YAML with positions to frozen models. Imports no TensorFlow."""

from __future__ import annotations

from gradcheck.config.discover import discover
from gradcheck.config.json_schema import json_schema
from gradcheck.config.load import LoadedConfig, load_config, load_given
from gradcheck.config.overrides import Override, option_overrides
from gradcheck.config.schema import Config

__all__ = [
    "Config",
    "LoadedConfig",
    "Override",
    "discover",
    "json_schema",
    "load_config",
    "load_given",
    "option_overrides",
]

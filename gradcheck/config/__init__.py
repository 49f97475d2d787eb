"""Configs: YAML is read with positions and validated into frozen models. Imports no TensorFlow."""

from __future__ import annotations

from gradcheck.config.json_schema import json_schema
from gradcheck.config.load import LoadedConfig, load_config, load_given
from gradcheck.config.schema import Config
from gradcheck.config.yaml.discover import discover
from gradcheck.config.yaml.overrides import GivenValue, option_overrides

__all__ = [
    "Config",
    "GivenValue",
    "LoadedConfig",
    "discover",
    "json_schema",
    "load_config",
    "load_given",
    "option_overrides",
]

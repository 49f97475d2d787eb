from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck.config import load_config
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake

MODEL = "model: {input: {shape: [4]}, layers: [{Dense: {units: 3, name: a}}, {Dense: 1}]}\n"


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedConfig]:
    """Loads a text as a config file."""

    def load_text(text: str, **options: object) -> LoadedConfig:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return load_config(path, **options)

    return load_text


@pytest.fixture
def mistakes(load: Callable[..., LoadedConfig]) -> Callable[..., list[Mistake]]:
    """The mistakes of a text that is no config."""

    def mistakes_of(text: str, **options: object) -> list[Mistake]:
        with pytest.raises(ConfigErrors) as caught:
            load(text, **options)
        return list(caught.value.mistakes)

    return mistakes_of


@pytest.fixture
def model() -> str:
    """A valid `model:` line."""
    return MODEL

"""`model.input` of a factory and of a file: what a model without symbolic inputs is called on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.sections.model import FactorySource, FileSource, InputSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig
    from gradcheck.errors import Mistake

SOURCES = ['factory: "a.b:build"', "file: model.keras"]
REST = "\nsplit: {every: layer}"


@pytest.fixture(autouse=True)
def _saved_model(tmp_path: Path) -> None:
    (tmp_path / "model.keras").touch()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{shape: [28, null, 1]}", InputSpec(shape=(28, None, 1))),
        ("{shape: [], dtype: int32}", InputSpec(shape=(), dtype="int32")),
        ("{a: {shape: [3]}, b: {shape: [2]}}", {"a": InputSpec(shape=(3,)), "b": InputSpec(shape=(2,))}),
    ],
)
def test_one_input_or_several_by_name(
    load: Callable[..., LoadedConfig], source: str, written: str, expected: Any
) -> None:
    model = load(f"model: {{{source}, input: {written}}}{REST}").config.model
    assert isinstance(model, (FactorySource, FileSource))
    assert model.input == expected


@pytest.mark.parametrize("source", SOURCES)
def test_without_it_nothing_is_stated(load: Callable[..., LoadedConfig], source: str) -> None:
    assert load(f"model: {{{source}}}{REST}").config.model.input is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[3]", "expected {shape: [...]}, or a mapping of input names to it"),
        ("{shape: [0]}", "expected a number of at least 1. Received: 0"),
        ("{a: {shapes: [3]}}", "shapes"),
    ],
)
def test_mistakes_are_found_at_their_key(mistakes: Callable[..., list[Mistake]], written: str, said: str) -> None:
    found = mistakes(f'model: {{factory: "a.b:build", input: {written}}}{REST}')
    assert any(said in mistake.message for mistake in found), found


def test_an_application_has_its_own_inputs(mistakes: Callable[..., list[Mistake]]) -> None:
    (mistake,) = mistakes(f"model: {{application: ResNet50, input: {{shape: [3]}}}}{REST}")
    assert "input" in mistake.message

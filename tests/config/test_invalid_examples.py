from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck.catalogue import CATALOGUE
from gradcheck.config import load_config
from gradcheck.errors import ConfigErrors, ExitCode

EXAMPLES = sorted((Path(__file__).parents[1] / "examples" / "invalid").glob("*.errors"))


@pytest.mark.parametrize("expected", EXAMPLES, ids=lambda path: path.stem)
def test_every_mistake_is_found_at_its_place(expected: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(expected.with_suffix(".yaml"), require_split=True)
    found = [f"{m.code}:{m.location.line}:{m.location.column}" for m in caught.value.mistakes if m.location]
    assert found == expected.read_text().split()
    assert caught.value.exit_code is ExitCode.USAGE
    assert {mistake.code for mistake in caught.value.mistakes} <= set(CATALOGUE)


def test_there_are_enough_examples() -> None:
    assert len(EXAMPLES) >= 25


@pytest.mark.parametrize("expected", EXAMPLES, ids=lambda path: path.stem)
def test_messages_are_for_people(expected: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_config(expected.with_suffix(".yaml"), require_split=True)
    text = "".join(f"{mistake.message} {mistake.help}" for mistake in caught.value.mistakes).lower()
    jargon = (
        "pydantic",
        "union",
        "tag_",
        "layerspec",
        "literal_error",
        "constrained",
        "nonetype",
        "input_type",
        "dict[",
    )
    assert [word for word in jargon if word in text] == []

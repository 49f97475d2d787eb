from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck.config.checks.safety import refuse_code
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config import LoadedConfig


@pytest.mark.parametrize("reference", ["os.path:join", "./my rules.py:rule"])
def test_a_surrogate_would_run_code(
    load: Callable[..., LoadedConfig], tmp_path: Path, model: str, reference: str
) -> None:
    (tmp_path / "my rules.py").write_text("def rule(): ...")
    loaded = load(f"{model}methods: [vjp, numeric: {{surrogate: '{reference}'}}]\nsplit: {{after: a}}")
    with pytest.raises(ConfigErrors) as caught:
        refuse_code(loaded)
    (mistake,) = caught.value.mistakes
    assert mistake.code == "GC029"
    assert mistake.location is not None
    assert mistake.location.line == 2


def test_points_are_no_code(load: Callable[..., LoadedConfig], model: str) -> None:
    refuse_code(load(f"{model}methods: [numeric: {{points: [given, zeros], surrogate: null}}]"))

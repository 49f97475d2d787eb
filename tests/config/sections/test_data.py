"""The ends of a range have the names of NumPy and those of Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake


@pytest.mark.parametrize(
    ("written", "options"),
    [
        ("integers: {minval: 1, maxval: 3}", {"low": 1, "high": 3}),
        ("integers: {low: 1, maxval: 3}", {"low": 1, "high": 3}),
        ("uniform: {low: -1, high: 2}", {"minval": -1.0, "maxval": 2.0}),
        ("uniform: {minval: -1, maxval: 2}", {"minval": -1.0, "maxval": 2.0}),
    ],
)
def test_both_names_of_the_ends(
    written: str, options: dict[str, float], load: Callable[..., LoadedConfig], model: str
) -> None:
    assert load(model + f"methods: [numeric]\ndata: {{inputs: {{{written}}}}}\n").config.data.inputs.options == options


@pytest.mark.parametrize(
    ("written", "code", "column"),
    [
        ("integers: {low: 1, minval: 3}", "GC007", 36),
        ("uniform: {low: x}", "GC004", 32),
        ("integers: {maxvall: 1}", "GC003", 28),
    ],
)
def test_a_mistake_is_where_it_was_written(
    written: str, code: str, column: int, mistakes: Callable[..., list[Mistake]], model: str
) -> None:
    (mistake,) = mistakes(model + f"methods: [numeric]\ndata: {{inputs: {{{written}}}}}\n")
    assert (mistake.code, mistake.line, mistake.column) == (code, 3, column)

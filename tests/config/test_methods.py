from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from gradcheck.config.methods import METHOD_OPTIONS, RESTS_ON, NumericOptions, PointName

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake


def test_numeric_looks_at_named_points(load: Callable[..., LoadedConfig], model: str) -> None:
    names = ["given", "zeros", "equal", "same", "ones", "saturated", "negative", "masked"]
    assert list(get_args(PointName)) == names
    (method,) = load(f"{model}methods: [numeric: {{points: [{', '.join(names)}]}}]").config.methods
    assert isinstance(method.options, NumericOptions)
    assert method.options.points == tuple(names)
    assert (NumericOptions().points, NumericOptions().surrogate) == (None, None)


@pytest.mark.parametrize(
    ("points", "column", "message"),
    [
        ("[given, zeroes]", 37, "expected one of given, zeros, equal, same, ones, saturated, negative, masked"),
        ("[]", 29, "expected at least 1 of them"),
        ("zeros", 29, "expected a list"),
        ("[1]", 30, "expected one of given"),
    ],
)
def test_points_that_are_none(
    mistakes: Callable[..., list[Mistake]], model: str, points: str, column: int, message: str
) -> None:
    (mistake,) = mistakes(f"{model}methods: [numeric: {{points: {points}}}]")
    assert mistake.location is not None
    assert (mistake.code, mistake.location.line, mistake.location.column) == ("GC004", 2, column)
    assert mistake.message.startswith(message)


def test_a_surrogate_is_a_name_in_a_file(
    load: Callable[..., LoadedConfig], mistakes: Callable[..., list[Mistake]], model: str
) -> None:
    (method,) = load(f"{model}methods: [numeric: {{surrogate: 'pkg.module:rule'}}]").config.methods
    assert isinstance(method.options, NumericOptions)
    assert method.options.surrogate == "pkg.module:rule"
    (mistake,) = mistakes(f"{model}methods: [numeric: {{surrogate: rule}}]")
    assert mistake.message == "expected `package.module:Name` or `./file.py:Name`. Received: `rule`"
    (mistake,) = mistakes(f"{model}methods: [numeric: {{surrogate: './none.py:rule'}}]")
    assert (mistake.code, mistake.location and mistake.location.line) == ("GC028", 2)


def test_it_is_said_of_every_method_what_it_rests_on() -> None:
    assert set(RESTS_ON) == set(METHOD_OPTIONS)
    assert [name for name, text in RESTS_ON.items() if "shared with the reference" not in text] == []
    assert [name for name, text in RESTS_ON.items() if "no gradient code is shared" in text] == ["numeric"]

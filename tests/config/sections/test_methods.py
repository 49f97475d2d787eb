from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from gradcheck.config.sections.methods import METHODS, MethodConfig, MethodOptions, NumericOptions, PointName

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake


def test_numeric_looks_at_named_points(load: Callable[..., LoadedConfig], model: str) -> None:
    names = ["given", "zeros", "equal", "same", "ones", "saturated", "negative"]
    assert list(get_args(PointName)) == names
    (method,) = load(f"{model}methods: [numeric: {{points: [{', '.join(names)}]}}]").config.methods
    assert isinstance(method.options, NumericOptions)
    assert method.options.points == tuple(names)
    assert (NumericOptions().points, NumericOptions().surrogate) == (None, None)


@pytest.mark.parametrize(
    ("points", "column", "message"),
    [
        ("[given, zeroes]", 37, "expected one of given, zeros, equal, same, ones, saturated, negative"),
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
    reference = MethodConfig(method="reference", options=MethodOptions()).info
    infos = {**METHODS, "reference": reference}
    said = {name: info.rests_on for name, info in infos.items()}
    assert [n for n, text in said.items() if f"shared with the {infos[n].sides.reference}" not in text] == []
    assert [name for name, text in said.items() if "no gradient code is shared" in text] == ["numeric", "reference"]


@pytest.mark.parametrize(
    ("written", "expect", "exempt"),
    [
        ("match", "match", ()),
        ("mismatch", "mismatch", ()),
        ("{mismatch: ['quant/*', b]}", "match", ("quant/*", "b")),
    ],
)
def test_what_a_method_is_expected_to_do(
    load: Callable[..., LoadedConfig], model: str, written: str, expect: str, exempt: tuple[str, ...]
) -> None:
    (method,) = load(f"{model}methods: [vjp: {{expect: {written}}}]").config.methods
    assert (method.expect, method.exempt) == (expect, exempt)


@pytest.mark.parametrize(
    ("expect", "place", "message"),
    [
        ("{mismatch: []}", "GC004:2:36", "expected at least 1 of them. Received: an empty list"),
        ("{mismatch: quant/*}", "GC004:2:36", "expected a list. Received: `quant/*`"),
        ("{mismatch: [3]}", "GC004:2:37", "expected a text. Received: 3"),
        ("{mismatch: ['']}", "GC004:2:37", "expected"),
        ("{}", "GC005:2:17", "missing key `mismatch`"),
        ("{mismach: ['quant/*']}", "GC003:2:26", "unknown key `mismach`"),
        ("{mismatch: [a], match: [b]}", "GC003:2:41", "unknown key `match`"),
        ("[quant/*]", "GC004:2:25", "expected one of match, mismatch"),
        ("mismach", "GC004:2:25", "expected one of match, mismatch. Received: `mismach`"),
        ("3", "GC004:2:25", "expected one of match, mismatch. Received: 3"),
    ],
)
def test_expectations_that_are_none(
    mistakes: Callable[..., list[Mistake]], model: str, expect: str, place: str, message: str
) -> None:
    (mistake,) = mistakes(f"{model}methods: [vjp: {{expect: {expect}}}]")
    assert mistake.location is not None
    assert f"{mistake.code}:{mistake.location.line}:{mistake.location.column}" == place
    assert mistake.message.startswith(message)

from __future__ import annotations

import re
from typing import TYPE_CHECKING, get_args

import pytest

from gradcheck.config.sections.methods import (
    ENGINES,
    METHODS,
    WAYS,
    FitOptions,
    MethodConfig,
    MethodOptions,
    NumericOptions,
    PointName,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake

#: What `all` stands for.
EVERY = (*WAYS, *ENGINES)


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
    of_gradients = {name: text for name, text in said.items() if name not in WAYS}
    assert [n for n, text in of_gradients.items() if f"shared with the {infos[n].sides.reference}" not in text] == []
    assert [name for name in WAYS if not re.search("shared with the plain loop|once more in", said[name])] == []
    assert [name for name, text in said.items() if "no gradient code is shared" in text] == ["numeric", "reference"]


@pytest.mark.parametrize("written", ["all", "[all]"])
def test_all_ways_of_training(load: Callable[..., LoadedConfig], model: str, written: str) -> None:
    found = load(f"{model}methods: {written}").config
    assert tuple(method.method for method in found.methods) == EVERY
    assert [m.options.required for m in found.methods if m.info.engine] == [False, False]
    assert found.train.steps == 3


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("[vjp, all]", ("vjp", *EVERY)),
        ("[all, recompute]", (*EVERY, "recompute")),
        ("[fit, all]", ("fit", *(way for way in EVERY if way != "fit"))),
        ("[vjp, all, {fit: {class_weight: {0: 2.0}}}]", ("vjp", *(way for way in EVERY if way != "fit"), "fit")),
    ],
)
def test_all_stands_beside_others(
    load: Callable[..., LoadedConfig], model: str, written: str, names: tuple[str, ...]
) -> None:
    found = load(f"{model}split: {{after: a}}\nmethods: {written}").config
    assert tuple(method.method for method in found.methods) == names
    options = next(method.options for method in found.methods if method.method == "fit")
    assert isinstance(options, FitOptions)
    assert options.class_weight == ({0: 2.0} if "class_weight" in written else None)


@pytest.mark.parametrize(
    ("written", "steps"),
    [("", 3), ("train:", 3), ("train: {optimizer: Adam}", 3), ("train: {steps: 5}", 5)],
)
def test_all_ways_take_some_steps(load: Callable[..., LoadedConfig], model: str, written: str, steps: int) -> None:
    found = load(f"{model}methods: all\n{written}").config
    assert found.train.steps == steps
    assert found.train.optimizer.name == ("Adam" if "Adam" in written else "SGD")


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("[fit]", "GC007:2:11", "method `fit` is a way of training, and there are no training steps"),
        ("[vjp, remat: {mode: full}]", "GC007:2:16", "method `remat` is a way of training"),
        ("all\ntrain: {steps: 0}", "GC007:2:10", "`all` names the ways of training, and there are no training steps"),
        ("[all, 3]", "GC004:2:1", "expected a method"),
        ("[all, [fit]]", "GC004:2:1", "expected a method"),
        ("[all, {}]", "GC004:2:1", "expected a method"),
        ("[all, al]", "GC004:2:1", "unknown method `al`"),
        ("small", "GC004:2:10", "expected a list"),
        ("true", "GC004:2:10", "expected a list"),
        ("[all, numeric]", "GC007:2:16", "method `numeric` does not train"),
        ("[all, fit: {class_weights: {0: 1.0}}]", "GC003:2:1", "unknown key `class_weights`"),
    ],
)
def test_ways_that_cannot_be_run(
    mistakes: Callable[..., list[Mistake]], model: str, written: str, place: str, message: str
) -> None:
    mistake, *_ = mistakes(f"{model}methods: {written}")
    assert mistake.location is not None
    assert f"{mistake.code}:{mistake.location.line}:{mistake.location.column}" == place
    assert mistake.message.startswith(message)
    if written == "[all, al]":
        assert (mistake.help or "").startswith("did you mean `all`?")


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

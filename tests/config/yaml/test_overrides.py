from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config import option_overrides
from gradcheck.config.sections.methods import ENGINES, WAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake


@pytest.mark.parametrize(
    ("argument", "keys", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("data.batch_size=8", ("data", "batch_size"), 8),
        ("tolerance.rtol=1e-3", ("tolerance", "rtol"), 1e-3),
        ("tolerance={rtol: 0.5}", ("tolerance", "rtol"), 0.5),
        ("split={every: layer}", ("split", "every"), "layer"),
        ("name=a=b", ("name",), "a=b"),
        ("name=", ("name",), None),
    ],
)
def test_a_value_replaces_the_files(
    load: Callable[..., LoadedConfig], model: str, argument: str, keys: tuple[str, ...], value: Any
) -> None:
    found = load(f"{model}seed: 1\ntolerance: {{atol: 1.0}}", overrides=[argument]).config
    for key in keys:
        found = getattr(found, key)
    assert found == value


def test_a_value_replaces_the_whole_of_what_was_there(load: Callable[..., LoadedConfig], model: str) -> None:
    assert load(f"{model}tolerance: {{atol: 1.0}}", overrides=["tolerance={rtol: 0.5}"]).config.tolerance.atol == "auto"
    assert load(f"{model}tolerance: {{atol: 1.0}}", overrides=["tolerance.rtol=0.5"]).config.tolerance.atol == 1.0


def test_numbers_index_lists(load: Callable[..., LoadedConfig], model: str) -> None:
    layers = load(model, overrides=["model.layers.1.Dense=5"]).config.model.layers
    assert [layer.kwargs or layer.argument for layer in layers] == [{"units": 3, "name": "a"}, 5]


def test_quoted_keys_hold_dots(load: Callable[..., LoadedConfig], model: str) -> None:
    assert (
        load(model, overrides=['tolerance.overrides."a.b/*".rtol=1.0']).config.tolerance.overrides["a.b/*"].rtol == 1.0
    )


def test_other_uses_of_an_anchor_keep_their_value(load: Callable[..., LoadedConfig]) -> None:
    text = "model: {input: {shape: [4]}, layers: [{Dense: &d {units: 3}}, {Dense: *d}]}"
    layers = load(text, overrides=["model.layers.0.Dense.units=9"]).config.model.layers
    assert [layer.kwargs["units"] for layer in layers] == [9, 3]


def test_the_later_of_two_wins(load: Callable[..., LoadedConfig], model: str) -> None:
    assert load(model, overrides=["seed=1", "seed=2"]).config.seed == 2


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("data.batchsize=8", ("GC003", 6, 9)),
        ("data.batch_size=none", ("GC004", 17, 4)),
        ("split={part: 2}", ("GC003", 8, 4)),
        ("model.layers.7=3", ("GC003", 14, 1)),
        ("seed.x=3", ("GC003", 6, 1)),
        ("seed=[1", ("GC002", 6, 1)),
        ("seed", ("GC010", 5, 1)),
        ("=3", ("GC010", 1, 1)),
        ("data={batch_size: 1, batch_size: 2}", ("GC006", 22, 10)),
    ],
)
def test_a_mistake_is_shown_in_the_argument(
    mistakes: Callable[..., list[Mistake]], model: str, argument: str, expected: tuple[Any, ...]
) -> None:
    (mistake,) = [m for m in mistakes(f"{model}seed: 0", overrides=[argument]) if m.code == expected[0]]
    place = mistake.location
    assert (place.path, place.excerpt) == (Path("--set"), argument)
    assert (place.line, place.column, place.length) == (1, *expected[1:])


def test_mistakes_of_the_file_come_first(mistakes: Callable[..., list[Mistake]], model: str) -> None:
    found = mistakes(f"sed: 1\n{model}", overrides=["seeed=1", "data.x=1"])
    assert [m.location.excerpt for m in found] == ["sed: 1", "data.x=1", "seeed=1"]


def test_options_that_stand_for_a_key(
    load: Callable[..., LoadedConfig], mistakes: Callable[..., list[Mistake]], model: str
) -> None:
    given = option_overrides(
        seed="3", rtol="1e-3", atol="auto", precision="float64", execution="graph", verify_reference="always"
    )
    config = load(f"{model}tolerance: {{rtol: 1, atol: 1}}", overrides=given).config
    assert (config.seed, config.tolerance.rtol, config.tolerance.atol) == (3, 1e-3, "auto")
    assert (config.precision, config.execution, config.verify_reference) == ("float64", "graph", "always")
    (mistake,) = mistakes(model, overrides=option_overrides(seed="-1"))
    assert (str(mistake.location), mistake.location.excerpt) == ("--seed:1:1", "-1")


class TestMethods:
    TEXT = "methods: [vjp, naive: {expect: mismatch}, candidate: {factory: 'm:f', name: mine}]"

    def test_replace_the_list(self, load: Callable[..., LoadedConfig], model: str) -> None:
        assert [m.method for m in load(model + self.TEXT, methods=["jacobian"]).config.methods] == ["jacobian"]

    def test_keep_the_options_in_the_file(self, load: Callable[..., LoadedConfig], model: str) -> None:
        methods = load(model + self.TEXT, methods=["mine", "naive"]).config.methods
        assert [(m.label, m.expect) for m in methods] == [("mine", "match"), ("naive", "mismatch")]

    def test_an_unknown_one_is_shown(self, mistakes: Callable[..., list[Mistake]], model: str) -> None:
        (mistake,) = mistakes(model + self.TEXT, methods=["nave"])
        assert (mistake.location.path, mistake.location.excerpt) == (Path("--method"), "nave")
        assert "`naive`" in mistake.help

    def test_all_keeps_what_the_file_says_of_ways(self, load: Callable[..., LoadedConfig], model: str) -> None:
        text = f"{model}split: {{every: layer}}\nmethods: [numeric, vjp, fit: {{expect: mismatch}}, accumulate]"
        ways = load(text, methods=["all"]).config
        assert [m.method for m in ways.methods][:3] == ["vjp", "fit", "accumulate"]
        assert {m.method for m in ways.methods} == {"vjp", *WAYS, *ENGINES}
        assert [m.expect for m in ways.methods if m.method == "fit"] == ["mismatch"]
        assert ways.train.steps == 3

    def test_all_beside_a_name(self, load: Callable[..., LoadedConfig], model: str) -> None:
        found = load(f"{model}split: {{every: layer}}", methods=["recompute", "all"]).config
        assert [m.method for m in found.methods] == ["recompute", *WAYS, *ENGINES]

    def test_all_keeps_a_mistake_of_the_file(self, mistakes: Callable[..., list[Mistake]], model: str) -> None:
        (mistake,) = mistakes(f"{model}methods: [fit: {{class: 1}}]", methods=["all"])
        assert mistake.message == "unknown key `class`"

    def test_a_file_without_methods(self, load: Callable[..., LoadedConfig], model: str) -> None:
        assert [m.method for m in load(model, methods=["naive"]).config.methods] == ["naive"]


class TestAgainst:
    @pytest.mark.parametrize(
        ("written", "methods"),
        [
            ("", ["vjp", "jax"]),
            ("methods: [naive]", ["naive", "jax"]),
            ("methods: [jax: {timeout: 5}, vjp]", ["jax", "vjp"]),
            ("methods: all", [*WAYS, "torch", "jax"]),
        ],
    )
    def test_adds_to_the_list(
        self, load: Callable[..., LoadedConfig], model: str, written: str, methods: list[str]
    ) -> None:
        found = load(f"{model}{written}", against=["jax"]).config.methods
        assert [m.method for m in found] == methods
        assert found[0].options.timeout == 5 if "timeout" in written else True

    def test_stands_beside_methods_of_the_command_line(self, load: Callable[..., LoadedConfig], model: str) -> None:
        found = load(f"{model}methods: [vjp]", methods=["numeric"], against=["jax", "torch"]).config.methods
        assert [m.method for m in found] == ["numeric", "jax", "torch"]

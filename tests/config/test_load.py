from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck.config import Config, load_config, load_given
from gradcheck.config.load import MAX_SIZE
from gradcheck.config.schema import ToleranceConfig
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config import LoadedConfig
    from gradcheck.errors import Mistake


def test_a_minimal_config_has_the_defaults_of_the_contract(load: Callable[..., LoadedConfig], model: str) -> None:
    config = load(model).config
    assert (config.seed, config.precision, config.execution, config.training) == (0, "float32", "eager", True)
    assert (config.require, config.verify_reference) == ("any", "auto")
    assert [method.method for method in config.methods] == ["vjp"]
    assert config.loss.name == "random_cotangent"
    assert (config.data.batch_size, config.microbatches, config.schedule) == (2, 1, "gpipe")
    assert config.tolerance == ToleranceConfig(rtol=None, atol="auto", noise="auto")


def test_name_and_base_come_from_the_file(load: Callable[..., LoadedConfig], model: str, tmp_path: Path) -> None:
    assert (load(model).name, load(model).base) == ("mine", tmp_path)
    assert load("name: other\n" + model).name == "other"


@pytest.mark.parametrize(
    ("written", "value"),
    [("1e-5", 1e-5), ("1.5e3", 1500.0), (".5", 0.5), ("1.", 1.0), ("1E+2", 100.0), ("0x10", 16.0), ("1_000", 1000.0)],
)
def test_numbers_as_people_write_them(load: Callable[..., LoadedConfig], model: str, written: str, value: Any) -> None:
    assert load(f"{model}tolerance: {{rtol: {written}}}").config.tolerance.rtol == value


@pytest.mark.parametrize("written", [".inf", ".nan", "-1", "1:30", "'1e-5'", "true", "2024-01-01"])
def test_what_is_no_tolerance(mistakes: Callable[..., list[Mistake]], model: str, written: str) -> None:
    (mistake,) = mistakes(f"{model}tolerance: {{rtol: {written}}}")
    assert (mistake.code, mistake.location.line, mistake.location.column) == ("GC004", 2, 19)
    assert "Received: " in mistake.message


def test_yaml_words_that_are_truth_values(load: Callable[..., LoadedConfig], model: str) -> None:
    assert load(f"{model}tolerance: {{noise: off}}").config.tolerance.noise == "off"
    assert load(f"{model}training: off").config.training is False


def test_dates_and_times_are_texts(load: Callable[..., LoadedConfig], model: str) -> None:
    assert load(f"{model}name: 2024-01-01").config.name == "2024-01-01"
    assert load(f"{model}name: 1:30").config.name == "1:30"


def test_anchors_and_merge_keys(load: Callable[..., LoadedConfig]) -> None:
    text = """
model:
  input: {shape: [4]}
  layers:
    - Dense: &dense {units: 3, activation: relu}
    - Dense: {<<: *dense, units: 5}
    - Dense: *dense
"""
    first, second, third = load(text).config.model.layers
    assert second.kwargs == {"units": 5, "activation": "relu"}
    assert first.kwargs == third.kwargs
    assert first.kwargs is not third.kwargs


def test_a_mistake_in_a_merged_value_is_where_it_is_written(mistakes: Callable[..., list[Mistake]], model: str) -> None:
    (mistake,) = mistakes(f"{model}tolerance:\n  overrides:\n    a: &t {{rtol: x}}\n    b: {{<<: *t, atol: 1}}\n")
    assert (mistake.location.line, mistake.location.column) == (4, 18)


def test_every_shorthand_has_its_normal_form(load: Callable[..., LoadedConfig]) -> None:
    text = """
model:
  input: {a: {shape: [4]}, b: {shape: [null, 2], dtype: int32}}
  layers:
    - Flatten
    - Dense: 3
    - Reshape: [1, 3]
    - {Dense: {units: 2, name: d}, inputs: [a]}
    - Add: {inputs: [d, d], call_kwargs: {x: 1}}
    - call: {layer: d, inputs: a, name: again}
  outputs: again
split: {after: [d, 1, "dense/b"]}
loss: [mse, {Huber: {delta: 2.0}}]
data: {inputs: {a: normal, b: {integers: 3}}, targets: {constant: 3.0}}
methods: [vjp, naive: {expect: mismatch}, numeric: {mode: full, directions: 5}, {recompute: }]
train: {steps: 0, optimizer: Adam}
placement: ["cpu:0"]
memory_budget: 2GiB
"""
    config = load(text).config
    plain, scalar, listed, named, added, call = config.model.layers
    assert (plain.target, scalar.argument, listed.argument) == ("Flatten", 3, [1, 3])
    assert (named.kwargs, named.name, named.inputs) == ({"units": 2, "name": "d"}, "d", ("a",))
    assert (added.inputs, added.call_kwargs, added.kwargs) == (("d", "d"), {"x": 1}, {})
    assert (call.kind, call.target, call.inputs, call.name) == ("call", "d", ("a",), "again")
    assert config.model.outputs == ("again",)
    assert config.split.after == ("d", 1, "dense/b")
    assert [loss.kwargs for loss in config.loss] == [{}, {"delta": 2.0}]
    assert config.data.inputs["b"].options == {"high": 3}
    assert config.data.targets.options == {"value": 3.0}
    assert [method.expect for method in config.methods] == ["match", "mismatch", "match", "match"]
    assert config.methods[2].options.directions == 5
    assert (config.train.optimizer.name, config.placement.devices) == ("Adam", ("cpu:0",))
    assert config.memory_budget == 2 * 2**30


def test_a_loss_for_each_output(load: Callable[..., LoadedConfig], model: str) -> None:
    losses = load(
        f"{model}loss: {{first: mse, second: {{Huber: {{delta: 1.0}}}}, third: {{factory: 'm:f'}}}}"
    ).config.loss
    assert {name: (loss.name, loss.factory) for name, loss in losses.items()} == {
        "first": ("mse", None),
        "second": ("Huber", None),
        "third": (None, "m:f"),
    }
    assert load(f"{model}loss: {{Huber: {{delta: 2}}}}").config.loss.kwargs == {"delta": 2}


def test_a_candidate_has_its_own_label(load: Callable[..., LoadedConfig], model: str) -> None:
    (method,) = load(f"{model}methods: [candidate: {{factory: 'm:f', name: mine}}]").config.methods
    assert (method.method, method.label) == ("candidate", "mine")


def test_a_split_is_required_where_asked_for(
    load: Callable[..., LoadedConfig], mistakes: Callable[..., list[Mistake]], model: str
) -> None:
    text = f"{model}methods: [forward, vjp]"
    assert load(text).config.split is None
    (mistake,) = mistakes(text, require_split=True)
    assert (mistake.code, mistake.location.column) == ("GC026", 20)
    assert load(f"{model}methods: [forward, numeric, hvp]", require_split=True).config.split is None


def test_segments_imply_the_split(load: Callable[..., LoadedConfig]) -> None:
    text = "model: {segments: [{factory: 'm:f'}, {factory: 'm:g'}], reference: {file: mine.yaml}}"
    assert load(text, require_split=True).config.split is None


class TestLocate:
    TEXT = "split: {after: a}\nmethods:\n  - vjp\n  - naive: {expect: mismatch}\nreport:\n"

    def test_a_value(self, load: Callable[..., LoadedConfig], model: str) -> None:
        place = load(self.TEXT.replace("report:\n", "") + model).locate("methods", 1, "naive", "expect")
        assert (place.line, place.column, place.length) == (4, 21, len("mismatch"))
        assert place.excerpt == "  - naive: {expect: mismatch}"

    def test_the_nearest_parent_that_is_written(self, load: Callable[..., LoadedConfig], model: str) -> None:
        loaded = load(self.TEXT.replace("report:\n", "") + model)
        assert (loaded.locate("split", "after", 0).line, loaded.locate("split", "after", 0).column) == (1, 16)
        assert loaded.locate("methods", 7).line == 2

    def test_nothing_for_a_key_that_is_not_there(self, load: Callable[..., LoadedConfig], model: str) -> None:
        assert load(model).locate("loss") is None


class TestUnreadable:
    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigErrors, match="no such file") as caught:
            load_config(tmp_path / "none.yaml")
        assert caught.value.code == "GC001"

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigErrors) as caught:
            load_config(tmp_path)
        assert caught.value.code == "GC001"

    def test_too_large(self, mistakes: Callable[..., list[Mistake]]) -> None:
        (mistake,) = mistakes("#" * (MAX_SIZE + 1))
        assert mistake.code == "GC009"

    def test_a_byte_order_mark_is_no_mistake(self, load: Callable[..., LoadedConfig], model: str) -> None:
        assert load("\ufeff" + model).config.seed == 0

    @pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
    def test_nested_too_deeply(self, mistakes: Callable[..., list[Mistake]], opening: str) -> None:
        assert mistakes(opening * 5000)[0].code == "GC009"

    def test_aliases_nested_too_deeply(self, mistakes: Callable[..., list[Mistake]]) -> None:
        lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 3000))]
        assert mistakes("\n".join(lines))[0].code == "GC009"

    def test_merge_keys_count_as_what_they_stand_for(self, mistakes: Callable[..., list[Mistake]]) -> None:
        lines = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 40))]
        assert mistakes("\n".join(lines))[0].code == "GC009"

    @pytest.mark.parametrize(
        "text", ["a: !!int x", "a: !!bool x", "a: !!float x", "a: !!int ''", f"a: {'9' * 5000}", "a: 0x_", "? [a]\n: b"]
    )
    def test_values_and_keys_that_cannot_be_read(self, mistakes: Callable[..., list[Mistake]], text: str) -> None:
        (mistake,) = mistakes(text)
        assert (mistake.code, mistake.location.line) == ("GC002", 1)


def test_mistakes_of_duplicate_keys_join_the_others(mistakes: Callable[..., list[Mistake]], model: str) -> None:
    found = mistakes(f"seed: 1\nsed: 2\nseed: x\n{model}")
    assert [(m.code, m.location.line) for m in found] == [("GC003", 2), ("GC006", 3), ("GC004", 3)]
    assert "line 1" in found[1].message


def test_line_and_column_count_every_kind_of_line_break(mistakes: Callable[..., list[Mistake]]) -> None:
    (first, *_) = mistakes("name: é\r\nsed: 1\r\nmodel: {file: m}")
    assert (first.location.line, first.location.column, first.location.excerpt) == (2, 1, "sed: 1")


def test_an_unknown_key_names_the_nearest(mistakes: Callable[..., list[Mistake]], model: str) -> None:
    (mistake,) = mistakes(f"{model}data: {{batchsize: 3}}")
    assert mistake.message == "unknown key `batchsize`"
    assert mistake.help.startswith("did you mean `batch_size`? Known keys: batch_size, inputs")


class TestLoadGiven:
    MAPPING: ClassVar = {"model": {"factory": "m:f"}, "split": {"every": "layer"}}

    def test_a_mapping(self) -> None:
        loaded = load_given(self.MAPPING, {"seed": 3})
        assert (loaded.config.seed, loaded.base, loaded.locate("seed")) == (3, Path(), None)

    def test_a_config(self) -> None:
        config = Config.model_validate({**self.MAPPING, "methods": ["vjp", {"naive": {"expect": "mismatch"}}]})
        assert load_given(config, {}).config == config
        assert load_given(config, {"data": {"batch_size": 8}}).config.data.batch_size == 8

    def test_a_file(self, tmp_path: Path, model: str) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(model)
        assert load_given(path, {"split": {"every": "layer"}}).config.split.every == "layer"

    def test_mistakes_name_their_keys(self) -> None:
        with pytest.raises(ConfigErrors) as caught:
            load_given(self.MAPPING, {"data": {"batch_size": 0}, "sed": 1})
        assert [mistake.message for mistake in caught.value.mistakes] == [
            "data.batch_size: expected a number of at least 1. Received: 0",
            "sed: unknown key `sed`",
        ]


YAML_PIECES = st.sampled_from(
    [
        "model:",
        "  ",
        "- ",
        "\n",
        "\t",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "'",
        '"',
        ">",
        "#",
        "input",
        "shape",
        "layers",
        "Dense",
        "name",
        "split",
        "after",
        "methods",
        "naive",
        "data",
        "inputs",
        "call",
        "loss",
        "1",
        "-1",
        "1e5",
        "true",
        "null",
        "~",
        "x",
        "./x.py:f",
        ".nan",
        "{shape: [3]}",
        "[Dense]",
        "\0",
        "é",
        "\u2028",
        "|",
    ]
)


@given(st.one_of(st.text(max_size=200), st.lists(YAML_PIECES, max_size=60).map("".join)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_text_raises_anything_but_config_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fuzz.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_config(path, require_split=True)
    except ConfigErrors as error:
        check_places(error)


def check_places(error: ConfigErrors) -> None:
    for mistake in error.mistakes:
        place = mistake.location
        assert place is not None
        assert place.line >= 1
        assert place.column >= 1
        assert place.excerpt is None or place.column + place.length - 1 <= max(len(place.excerpt), 1) + 1


KEYS = st.sampled_from(sorted(Config.model_fields))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 9),
        st.floats(allow_nan=True),
        st.sampled_from(["x", "vjp", "Dense", "layer", "auto", "normal", "./x.py:f", "mse", "a:1"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.sampled_from(
                    [
                        "input",
                        "layers",
                        "shape",
                        "after",
                        "time",
                        "naive",
                        "candidate",
                        "factory",
                        "call",
                        "layer",
                        "Dense",
                        "inputs",
                        "npz",
                        "file",
                        "uniform",
                        "name",
                        "segments",
                        "optimizer",
                        "Huber",
                        "kwargs",
                    ]
                ),
                st.integers(0, 1),
                st.booleans(),
                st.none(),
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
@settings(max_examples=400, deadline=None)
def test_no_values_raise_anything_but_config_errors(values: dict[str, Any]) -> None:
    try:
        loaded = load_given(values, {})
    except ConfigErrors as error:
        assert error.mistakes  # noqa: PT017 - whether it raises depends on the values
    else:
        assert math.isfinite(loaded.config.seed)

from __future__ import annotations

from typing import Any

import pytest
import yaml

from gradcheck.config.checks.layer_names import automatic_name, undefined_names


def found(layers: str, **model: Any) -> list[str]:
    """The messages about a model with these layers."""
    source = {"input": {"shape": [4]}, "layers": yaml.safe_load(layers), **model}
    return [finding.message for finding in undefined_names({"model": source})]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("Conv2D", "conv2d"),
        ("BatchNormalization", "batch_normalization"),
        ("./a.py:MyLSTM", "my_lstm"),
        ("m.n:A.B", "b"),
    ],
)
def test_automatic_names_are_those_of_keras(target: str, name: str) -> None:
    keras_naming = pytest.importorskip("keras.src.utils.naming")
    assert automatic_name(target) == name == keras_naming.to_snake_case(target.rpartition(":")[2].rpartition(".")[2])


def test_names_above_are_known() -> None:
    layers = "[{Dense: {units: 1, name: a}}, {Add: {inputs: [a, 'a:1', input]}}, {call: {layer: a, name: b}}]"
    assert found(layers, outputs=["a", "b"]) == []


def test_what_keras_may_have_named_is_not_judged() -> None:
    assert found("[Dense, {Dense: 1}, {Add: {inputs: [dense, dense_1, dense_99]}}]") == []
    assert found("[{Add: {inputs: [dense]}}, Dense]") == ["no layer or input above is named `dense`"]


def test_an_entry_that_is_wrong_may_have_defined_anything() -> None:
    assert found("[{Dense: 1, Flatten: 2}, {Add: {inputs: [a]}}]") == []


def test_a_name_that_is_defined_further_below() -> None:
    layers = "[{Add: {inputs: [a], name: sum}}, {Dense: {units: 1, name: a}}]"
    assert found(layers) == ["`a` is defined further below"]


def test_a_name_given_twice_also_to_an_input() -> None:
    layers = "[{Dense: {units: 1, name: a}}, {Dense: {units: 1, name: a}}, {call: {layer: a, name: image}}]"
    assert found(layers, input={"image": {"shape": [4]}}) == [
        "the name `a` is given twice",
        "the name `image` is given twice",
    ]


def test_an_input_whose_name_is_no_text_is_left_to_its_section() -> None:
    inputs = {None: {"shape": [4]}, "image": {"shape": [4]}}
    assert found("[{Add: {inputs: [imag]}}]", input=inputs) == ["no layer or input above is named `imag`"]


def test_parts_and_their_reference_are_looked_at() -> None:
    part = {"input": {"shape": [4]}, "layers": [{"Add": {"inputs": ["gone"]}}]}
    findings = list(undefined_names({"model": {"segments": [part, {"factory": "m:f"}], "reference": part}}))
    assert [finding.path for finding in findings] == [
        ("model", "segments", 0, "layers", 0, "Add", "inputs", 0),
        ("model", "reference", "layers", 0, "Add", "inputs", 0),
    ]

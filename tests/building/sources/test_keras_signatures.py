from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest

from gradcheck.building.sources.keras_signatures import arguments_of, written
from gradcheck.config.keras_table import FILE, is_of_installed


def test_the_table_is_what_the_installed_keras_says() -> None:
    if not is_of_installed():
        pytest.skip("another release of Keras is installed: python -m gradcheck.building.sources.keras_signatures")
    text = FILE.read_text(encoding="utf-8")
    assert written().partition('"layers"')[2] == text.partition('"layers"')[2]


class Strict(keras.layers.Layer):
    def __init__(self, units: int, **kwargs: Any) -> None:  # noqa: ARG002 - for its signature
        super().__init__(**kwargs)


class HandsOn(keras.layers.Dense):
    def __init__(self, *args: Any, scale: float = 1.0, **kwargs: Any) -> None:  # noqa: ARG002 - as above
        super().__init__(*args, **kwargs)


def open_ended(units: int, **kwargs: Any) -> None: ...


def test_arguments_are_those_of_the_base_too() -> None:
    strict = arguments_of(Strict)
    assert strict is not None
    assert strict["units"] is inspect.Parameter.empty
    assert {"name", "dtype", "trainable"} <= strict.keys()
    assert "activation" not in strict


def test_positional_ones_are_handed_on() -> None:
    found = arguments_of(HandsOn)
    assert found is not None
    assert {"scale", "units", "activation", "name"} <= found.keys()
    assert found["units"] is None  # it may have come by position


def test_nothing_is_known_of_other_keyword_arguments() -> None:
    assert arguments_of(open_ended) is None
    assert arguments_of(dict) is None

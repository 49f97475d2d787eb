"""Saved models of the user's own classes: loaded with trust, from the modules beside the config."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck import check
from gradcheck.building.precision import precision_scope
from gradcheck.building.sources import build_model
from gradcheck.config.sections.model import FileSource
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import keras


@keras.saving.register_keras_serializable(package="saved_by_test")
class Block(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.dense = units, keras.layers.Dense(units, activation="tanh")

    def call(self, x):
        return x + self.dense(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Net(keras.Model):
    def __init__(self, units=4, **kwargs):
        super().__init__(**kwargs)
        self.blocks, self.head = [Block(units), Block(units)], keras.layers.Dense(2)

    def call(self, x):
        for block in self.blocks:
            x = block(x)
        return self.head(x)
"""


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the module, and a model of its classes that was saved in another process."""
    import keras

    (tmp_path / "nets_of_test.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    nets = importlib.import_module("nets_of_test")
    model = nets.Net()
    model(np.zeros((1, 4), "float32"))
    model.save(tmp_path / "net.keras")
    monkeypatch.undo()
    del sys.modules["nets_of_test"]
    keras.saving.get_custom_objects().clear()
    return tmp_path


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_its_classes_are_imported_from_beside_the_config(saved: Path, precision: str) -> None:
    with precision_scope(precision):
        model = build_model(FileSource(file="net.keras", trust=True), saved).model
    assert {v.dtype for v in model.trainable_variables} == {precision}
    assert len(model.trainable_variables) == 6


def test_it_is_cut_inside(saved: Path) -> None:
    file = str(saved / "net.keras")
    (saved / "c.yaml").write_text(
        f"model: {{file: '{file}', trust: true}}\nsplit: {{after: [blocks/0]}}\nmethods: [vjp, numeric]\n",
        encoding="utf-8",
    )
    (run,) = check(saved / "c.yaml").runs
    assert run.verdict == "pass", run.error
    assert [segment.layers[-1] for segment in run.segments] == ["blocks/0/add", "head"]


def test_without_trust_it_is_refused(saved: Path) -> None:
    with pytest.raises(GradcheckError) as caught:
        build_model(FileSource(file="net.keras"), saved)
    assert caught.value.code == "GC051"
    assert "trust: true" in str(caught.value.help)

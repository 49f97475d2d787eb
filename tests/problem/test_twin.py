"""A copy of a problem: other variables, the same numbers, and a Keras session of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from keras.src.random.seed_generator import global_seed_generator

from gradcheck.config.schema import Config
from gradcheck.errors import RunError
from gradcheck.problem.prepare import prepare, session
from gradcheck.problem.twin import replica

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gradcheck.problem.problem import Problem

MODEL = {
    "input": {"shape": [4]},
    "layers": [
        {"Dense": {"units": 3, "name": "first"}},
        {"BatchNormalization": {"name": "normal"}},
        {"Dropout": {"rate": 0.5}},
        {"Dense": {"units": 2, "name": "last"}},
    ],
}


@contextmanager
def prepared(base: Path, model: Any = None, **keys: Any) -> Iterator[Problem]:
    values = {"model": model or MODEL, "split": {"after": [0]}, "loss": "MeanSquaredError", "data": {"batch_size": 5}}
    config = Config.model_validate({**values, **keys})
    with session(config):
        yield prepare(config, base)


def outputs(problem: Problem) -> Any:
    with problem.state.preserved():
        return np.asarray(problem.model(problem.model_inputs(problem.batch.x), training=True))


def test_a_copy_has_variables_of_its_own_and_the_same_numbers(tmp_path: Path) -> None:
    with prepared(tmp_path) as problem:
        copy = replica(problem)
        assert not {id(v) for v in problem.model.variables} & {id(v) for v in copy.problem.model.variables}
        assert [weight.path for weight in copy.problem.weights] == [weight.path for weight in problem.weights]
        assert len(copy.problem.segments) == len(problem.segments) == 2
        with copy.entered() as other:
            theirs = outputs(other)
        np.testing.assert_array_equal(outputs(problem), theirs)


def test_a_copy_takes_what_the_snapshot_holds_however_the_model_was_changed(tmp_path: Path) -> None:
    with prepared(tmp_path) as problem:
        for variable in problem.model.variables:
            variable.assign(variable + np.ones((), variable.dtype))
        changed = replace(problem, state=problem.state.retaken())
        for variable in problem.model.trainable_variables:
            variable.assign(variable * 0)
        copy = replica(changed)
        for ours, theirs in zip(problem.model.variables, copy.problem.model.variables, strict=True):
            np.testing.assert_array_equal(np.asarray(ours.value), np.asarray(theirs.value))
        assert all(np.any(np.asarray(v.value)) for v in copy.problem.model.trainable_variables)


def test_a_copy_has_a_session_of_its_own(tmp_path: Path) -> None:
    with prepared(tmp_path) as problem:
        before = global_seed_generator()
        copy = replica(problem)
        assert global_seed_generator() is before
        with copy.entered():
            assert global_seed_generator() is not before
            np.testing.assert_array_equal(np.asarray(global_seed_generator().state), np.asarray(before.state))
            keras.random.normal((2,))
        assert global_seed_generator() is before
        with copy.entered():  # and finds it as it left it
            assert not np.array_equal(np.asarray(global_seed_generator().state), np.asarray(before.state))


def test_a_copy_keeps_the_precision(tmp_path: Path) -> None:
    with prepared(tmp_path, precision="float64") as problem:
        copy = replica(problem)
        with copy.entered() as other:
            assert keras.config.floatx() == "float64"
            assert {v.dtype for v in other.model.trainable_variables} == {"float64"}
        assert keras.config.floatx() == "float64"


CHANGING = """
import itertools, keras

def build():
    number = next(keras.count)
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.Dense(2 + {units}, name=f"last{name}")(keras.layers.Dense(3)(x)))
"""


@pytest.mark.parametrize(
    ("units", "name", "message"), [("number", "", "other variables"), ("0", "{number}", "other names")]
)
def test_another_model_the_second_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, units: str, name: str, message: str
) -> None:
    monkeypatch.setattr(keras, "count", iter(range(9)), raising=False)
    (tmp_path / "model.py").write_text(CHANGING.format(units=units, name=name), encoding="utf-8")
    model = {"factory": "./model.py:build"}
    with prepared(tmp_path, model) as problem, pytest.raises(RunError, match=message) as raised:
        replica(problem)
    assert raised.value.code == "GC051"


def test_a_state_that_flows_is_not_put_back(tmp_path: Path) -> None:
    with prepared(tmp_path) as problem:
        kernel = problem.weights[0].variable
        start = np.asarray(kernel.value)
        with problem.state.retaken(flows=True).preserved():
            kernel.assign(kernel * 2)
        np.testing.assert_array_equal(np.asarray(kernel.value), 2 * start)
        step = problem.state.retaken(flows=True)
        kernel.assign(kernel * 2)
        assert step.changed([kernel]) == [kernel]
        step.put_back([kernel])
        np.testing.assert_array_equal(np.asarray(kernel.value), 2 * start)
        problem.state.restore()
        np.testing.assert_array_equal(np.asarray(kernel.value), start)

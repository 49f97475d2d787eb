"""What the code of a function names."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import pytest
import tensorflow as tf

from gradcheck.live.closures import Named

if TYPE_CHECKING:
    from pathlib import Path

in_module = keras.optimizers.SGD()
counter = 0


def names_a_global() -> Any:
    return in_module


def counts() -> None:
    global counter  # noqa: PLW0603 - what a notebook does
    counter += 1


class Trainer:
    def __init__(self) -> None:
        self.optimizer = keras.optimizers.Adam()
        self.steps = 0

    def step(self) -> Any:
        self.steps += 1
        return self.optimizer

    def __call__(self) -> Any:
        return self.step()


def closing_over(optimizer: Any) -> Any:
    def helper() -> Any:
        return optimizer

    def function() -> Any:
        return helper()

    return function


ADAM = keras.optimizers.Adam()


@pytest.mark.parametrize(
    "function",
    [
        closing_over(ADAM),
        tf.function(closing_over(ADAM)),
        partial(lambda optimizer: optimizer, ADAM),
        partial(lambda held: held, held={"optimizers": [ADAM]}),
    ],
)
def test_an_optimizer_is_found_where_the_code_names_it(function: Any) -> None:
    assert Named(function).of_type(keras.optimizers.Optimizer) == [ADAM]


def test_modules_methods_and_callable_objects() -> None:
    trainer = Trainer()
    assert Named(names_a_global).of_type(keras.optimizers.Optimizer) == [in_module]
    assert Named(trainer.step).of_type(keras.optimizers.Optimizer) == [trainer.optimizer]
    assert Named(trainer).of_type(keras.optimizers.Optimizer) == [trainer.optimizer]
    assert any(value is vars(trainer) for value in Named(trainer.step).values)
    assert Named(len).of_type(keras.optimizers.Optimizer) == []


def test_what_is_in_another_module_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users_training.py").write_text("import keras\nsgd = keras.optimizers.SGD()\nsteps = 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    users_training = importlib.import_module("users_training")
    names: dict[str, Any] = {"users_training": users_training, "__name__": "__main__"}
    exec("def step():\n    users_training.steps += 1\n    return users_training.sgd", names)  # noqa: S102 - a notebook
    named = Named(names["step"])
    assert named.of_type(keras.optimizers.Optimizer) == [users_training.sgd]
    with named.bound_as_before():
        names["step"]()
    assert users_training.steps == 0


def test_names_are_bound_as_before() -> None:
    with Named(counts).bound_as_before():
        counts()
        assert counter == 1
    assert counter == 0

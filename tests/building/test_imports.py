"""User modules are imported once a run; what they make at their top is made anew for each copy of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

SCRIPT = """
    from pathlib import Path
    import keras
    import numpy as np
    import tensorflow as tf
    import helper

    with Path(__file__).with_name("imports.txt").open("a") as file:
        file.write("script ")
    {top}

    def built():
        x = keras.Input((3,))
        h = keras.layers.Dense(4, activation="tanh", name="first")(x)
        return keras.Model(x, keras.layers.Dense(2)(h))

    SHARED = built()

    def shared():
        return SHARED

    def batch():
        import helper  # a late import is no other module
        return helper.ones(), None

    def loss():
        return lambda y, out: tf.reduce_mean(tf.square(out))

    def gradients(check):
        with tf.GradientTape() as tape:
            value = check.loss(check.y, check.model(check.x, training=True))
        return tape.gradient(value, check.variables)
"""
HELPER = """
    from pathlib import Path
    import numpy as np

    with Path(__file__).with_name("imports.txt").open("a") as file:
        file.write("helper ")

    def ones():
        return np.ones((4, 3), "float32")
"""
TRAINING = """
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0)
"""


def config(factory: str) -> dict[str, object]:
    return {
        "model": {"factory": f"./script.py:{factory}"},
        "split": {"after": ["first"]},
        "loss": {"factory": "./script.py:loss"},
        "data": {"batch_size": 4, "factory": "./script.py:batch"},
        "methods": ["vjp", "numeric", {"candidate": {"factory": "./script.py:gradients"}}],
    }


@pytest.mark.parametrize(("factory", "times"), [("built", 1), ("shared", 2)])
def test_a_module_is_imported_once_but_for_a_model_at_its_top(
    run: Run, tmp_path: Path, factory: str, times: int
) -> None:
    report = run(config(factory), {"script.py": SCRIPT.format(top=""), "helper.py": HELPER})
    assert [check.outcome for check in report.checks] == ["match"] * 3
    assert sorted((tmp_path / "imports.txt").read_text().split()) == sorted(["script", "helper"] * times)
    assert report.warnings == ()
    run(config(factory))  # another run sees what was edited since
    assert (tmp_path / "imports.txt").read_text().split().count("script") == 2 * times


def test_a_module_that_trains_when_it_is_imported_is_told(run: Run, tmp_path: Path) -> None:
    report = run(config("built"), {"script.py": SCRIPT.format(top=TRAINING), "helper.py": HELPER})
    assert report.verdict == "pass"
    (warning,) = report.warnings
    assert "importing ./script.py trains something" in warning
    assert '`if __name__ == "__main__":`' in warning
    assert (tmp_path / "imports.txt").read_text().split().count("script") == 1


def test_training_copies_of_a_model_at_the_top_of_a_module(run: Run) -> None:
    trained = {**config("shared"), "methods": ["vjp"], "train": {"steps": 2}}
    report = run(trained, {"script.py": SCRIPT.format(top=""), "helper.py": HELPER})
    assert report.verdict == "pass"

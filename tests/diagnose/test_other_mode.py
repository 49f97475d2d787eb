"""GC108 where nothing is cut: a whole model that is called without `training=True`, in a candidate and in a step."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from pathlib import Path

CANDIDATE = """
    import tensorflow as tf

    def gradients(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x{flag}))
        return loss, tape.gradient(loss, check.variables)
"""
CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [{"Dense": 5}, "BatchNormalization", {"Activation": "tanh"}, {"Dropout": 0.5}, {"Dense": 2}],
    },
    "loss": "MeanSquaredError",
    "data": {"batch_size": 6},
    "methods": [{"candidate": {"factory": "./step.py:gradients"}}],
}


@pytest.mark.parametrize(("flag", "outcome"), [(", training=True", "match"), ("", "mismatch"), (" * 2", "mismatch")])
def test_a_candidate_without_a_split(tmp_path: Path, flag: str, outcome: str) -> None:
    import yaml

    from gradcheck import check

    (tmp_path / "step.py").write_text(dedent(CANDIDATE.format(flag=flag)), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    (found,) = check(tmp_path / "config.yaml").runs[0].checks
    assert found.outcome == outcome
    named = [(d.code, d.confidence, d.place) for d in found.diagnoses]
    assert (("GC108", "exact", "the whole model") in named) == (flag == "")


def test_a_step_of_an_uncut_model() -> None:
    """The state that stands still tells, before a hundred runs of other loops."""
    import keras
    import tensorflow as tf

    from gradcheck import check_step

    class Classifier(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [keras.layers.Dense(6, activation="tanh") for _ in range(4)]
            self.norms = [keras.layers.BatchNormalization() for _ in range(4)]
            self.drop, self.head = keras.layers.Dropout(0.2), keras.layers.Dense(3)

        def call(self, x: Any, training: bool | None = None) -> Any:
            for block, norm in zip(self.blocks, self.norms, strict=True):
                x = self.drop(norm(block(x), training=training), training=training)
            return self.head(x)

    model = Classifier()
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6)).astype("float32"), rng.integers(0, 3, 8)
    model(x)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = model.loss(y, model(x))
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    report = check_step(step, model, x, y, steps=1)
    assert not report
    assert [d.code for d in report.runs[0].checks[0].diagnoses] == ["GC108"]

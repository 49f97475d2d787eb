"""A reference that does not repeat itself: its movement is not rounding, and excuses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

CONFIG = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - "./own.py:Counting": {name: counting}
        - Dense: {units: 2, name: last}
    split: {after: [first, counting]}
    data: {batch_size: 4}
"""
#: Its output depends on how often it was called: nothing that a snapshot holds.
COUNTING = """
    import keras

    class Counting(keras.layers.Layer):
        calls = 0

        def call(self, x):
            type(self).calls += 1
            return x * (1 + STEP * type(self).calls)
"""


@pytest.mark.parametrize("step", ["0.5", "0.03"])
def test_untracked_state_is_a_mismatch_and_said(run: Run, step: str) -> None:
    report = run(CONFIG, {"own.py": COUNTING.replace("STEP", step)})
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert any(warning.startswith("GC704") for warning in report.warnings)


def test_a_reference_that_repeats_itself_is_not_suspected(run: Run) -> None:
    report = run(CONFIG, {"own.py": COUNTING.replace("STEP", "0.0")}, methods=[{"naive": {"expect": "mismatch"}}])
    assert report.verdict == "pass"
    assert report.warnings == ()


WHOLE = """
    import keras
    import tensorflow as tf

    def gradients(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training))
        found = tape.gradient(loss, [v.value for v in check.variables])
        {fault}
        return loss, found
"""


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        ("check.model.trainable = False", "changed what is trainable"),
        ("keras.config.set_dtype_policy('mixed_float16')", "dtype policy"),
        ("keras.config.set_floatx('float64')", "dtype policy"),
    ],
)
def test_what_a_candidate_meddles_with_is_put_back(run: Run, fault: str, warning: str) -> None:
    config = CONFIG + '    methods: [candidate: {factory: "./train.py:gradients"}, vjp]\n'
    files = {"own.py": COUNTING.replace("STEP", "0.0"), "train.py": WHOLE.replace("{fault}", fault)}
    report = run(config, files)
    first, second = report.checks
    assert warning in first.warnings[0]
    assert [check.outcome for check in (first, second)] == ["match", "match"]
    assert len(second.of_kind("weight")) == 4


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_a_wrong_scale_is_seen_in_16_bits(run: Run, precision: str) -> None:
    config = CONFIG + '    methods: [candidate: {factory: "./train.py:gradients"}, vjp]\n'
    files = {
        "own.py": COUNTING.replace("STEP", "0.0"),
        "train.py": WHOLE.replace("{fault}", "found = [g * 1.1 for g in found]"),
    }
    wrong, right = run(config, files, precision=precision).checks
    assert len(wrong.failures) >= 2
    assert right.outcome == "match"


def test_one_method_that_raises_leaves_the_others(run: Run) -> None:
    config = CONFIG + '    methods: [candidate: {factory: "./train.py:gradients"}, vjp]\n'
    fault = "found[0] = tf.IndexedSlices(tf.zeros((1, 5)), [9], None)"
    report = run(config, {"own.py": COUNTING.replace("STEP", "0.0"), "train.py": WHOLE.replace("{fault}", fault)})
    assert report.checks[0].outcome in ("error", "mismatch")
    assert report.checks[1].outcome == "match"

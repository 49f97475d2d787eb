"""One loss over all outputs, in training that Keras runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

HEADS = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, name: trunk}
        - Dense: {units: 2, name: one, inputs: [trunk]}
        - Dense: {units: 1, name: two, inputs: [trunk]}
      outputs: [one, two]
    loss: {factory: "./f.py:joint", joint: true}
    data: {batch_size: 6}
    train: {steps: 2}
    verify_reference: never
    methods: [accumulate, fit, compiled]
"""
SLOPES = """
    model:
      input: {shape: [3]}
      layers: [{Dense: {units: 4, activation: tanh, name: one}}, {NORM: {name: norm}}, {Dense: {units: 1, name: two}}]
    loss: {of_model: "./f.py:slopes"}
    data: {batch_size: 6}
    train: {steps: 2}
    verify_reference: never
    methods: [accumulate, fit]
"""
FILES = {
    "f.py": """
    import tensorflow as tf

    def joint():
        def loss(y, outputs):
            return tf.reduce_mean(outputs[0] * y[0]) * tf.reduce_mean(tf.square(outputs[1] - y[1]))
        return loss

    def slopes(model, x, y, training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = model(x, training=training)
        slope = tape.gradient(out, x)
        return tf.reduce_mean(tf.square(slope)) + tf.reduce_mean(tf.square(out - y))
    """
}


def test_a_joint_loss_is_what_keras_trains_with(run: Run) -> None:
    found = run(HEADS, FILES)
    assert [check.outcome for check in found.checks] == ["match"] * 3, found.error
    assert any("GC301" in note for check in found.checks for note in check.notes)  # the product is no mean


def test_a_loss_that_calls_the_model(run: Run) -> None:
    found = run(SLOPES.replace("NORM", "LayerNormalization"), FILES)
    assert [check.outcome for check in found.checks] == ["match"] * 2, found.error


def test_keras_calls_the_model_once_more(run: Run) -> None:
    found = run(SLOPES.replace("NORM", "BatchNormalization"), FILES, methods=["fit"])
    assert any("its state would move twice" in note for note in found.notes)

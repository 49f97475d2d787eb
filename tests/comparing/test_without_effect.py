from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

CONFIG = """
    model:
      input: {shape: [3]}
      layers: [{Dense: {units: 4, activation: tanh, name: one}}, {Dense: {units: 1, name: two}}]
    loss: {of_model: "./f.py:LOSS"}
    data: {batch_size: 4}
    methods:
      - candidate: {factory: "./f.py:gradients"}
"""
FILES = {
    "f.py": """
    import tensorflow as tf

    def slopes(model, x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = model(x)
        return tf.reduce_mean(tf.square(tape.gradient(out, x)))

    def with_zero(model, x, y):
        return slopes(model, x, y) + 0.0 * tf.reduce_mean(model(x))

    def with_relu(model, x, y):
        return slopes(model, x, y) + tf.reduce_mean(tf.nn.relu(model(x) - 5.0))

    def gradients(check):
        with tf.GradientTape() as tape:
            loss = slopes(check.model, check.x, check.y)
        return loss, tape.gradient(loss, check.variables)
    """
}


def test_none_is_zero_where_the_loss_does_not_move(run: Run) -> None:
    (check,) = run(CONFIG.replace("LOSS", "with_zero"), FILES).checks
    (bias,) = (t for t in check.tensors if t.path == "two/bias")
    assert (check.outcome, bias.status) == ("match", "dead")


def test_none_is_not_zero_where_the_loss_moves_further_away(run: Run) -> None:
    (check,) = run(CONFIG.replace("LOSS", "with_relu"), FILES).checks
    (bias,) = (t for t in check.tensors if t.path == "two/bias")
    assert (check.outcome, bias.status) == ("mismatch", "missing")


def test_none_on_both_sides_is_absent(run: Run) -> None:
    (check,) = run(CONFIG.replace("LOSS", "slopes"), FILES).checks
    assert {t.path: t.status for t in check.tensors}["two/bias"] == "absent"


def test_training_steps_too(run: Run) -> None:
    (check,) = run(CONFIG.replace("LOSS", "with_zero"), FILES, train={"steps": 2}).checks
    assert check.outcome == "match"

"""GC501 and GC502: penalties and activity losses that are left out or counted often, beside tapes that do so."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault

ADDED = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, activity_regularizer: l2, name: first}
        - Dense: {units: 4, activation: tanh, bias_regularizer: l1, bias_initializer: ones, name: second}
        - Dense: {units: 2, name: out}
    split: {after: [first, second]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""


def counted(study: Any, *, first: float, activity: float, second: float) -> dict[str, Any]:
    """The gradients of the data loss and of the three terms, each so many times."""
    problem = study.problem
    parts, (x,), (y,) = problem.segments, problem.batch.x, problem.batch.y
    layers = {layer.name: layer for part in parts for layer in part.used_layers}
    variables = problem.model.trainable_variables
    with tf.GradientTape() as tape:
        hidden = layers["first"](x)
        of_activity = layers["first"].losses[0]  # as Keras normalises it; the kernel's penalty follows
        output = layers["out"](layers["second"](hidden))
        loss = tf.reduce_mean((output - y) ** 2)
        loss += first * layers["first"].kernel_regularizer(layers["first"].kernel.value)
        loss += activity * of_activity
        loss += second * layers["second"].bias_regularizer(layers["second"].bias.value)
    gradients = tape.gradient(loss, [v.value for v in variables])
    return {v.path: gradient for v, gradient in zip(variables, gradients, strict=True)}


def test_by_hand_and_once_it_is_right(study: Any, same: Any) -> None:
    added = study(ADDED)
    same(added.weights(), counted(added, first=1, activity=1, second=1))


@pytest.mark.parametrize(
    ("place", "effect", "kept"),
    [
        ("segment 0", "what segment_0 adds to", (0, 0, 1)),
        ("segment 1", "what segment_1 adds to", (1, 1, 0)),
        ("every segment", "adds to the loss", (0, 0, 0)),
        ("segment 0", "the weight penalties of segment_0", (0, 1, 1)),
        ("segment 0", "what the layers of segment_0 add", (1, 0, 1)),
        ("every segment", "the weight penalties of", (0, 1, 0)),
    ],
)
@pytest.mark.parametrize(("code", "times", "said"), [("GC501", 0, "left out"), ("GC502", 3, "counted 3 times")])
def test_each_segment_and_each_kind(
    study: Any, same: Any, *, place: str, effect: str, kept: tuple[int, ...], code: str, times: int, said: str
) -> None:
    added = study(ADDED)
    (injection,) = (i for i in added.injections(code, place=place, effect=effect) if said in i.effect)
    first, activity, second = (1 if of_term else times for of_term in kept)
    same(added.weights(injection), counted(added, first=first, activity=activity, second=second))


def test_as_often_as_there_are_segments_or_micro_batches(study: Any) -> None:
    assert max(i.effect for i in study(ADDED).injections("GC502")).endswith("3 times")
    sliced = study("\n    microbatches: 6" + ADDED)
    assert len({i.effect.split()[-2] for i in sliced.injections("GC502", place="every")}) == 5
    (fault,) = (fault for fault in FAULTS if fault.code == "GC502")
    assert isinstance(fault, SlicingFault)
    assert not list(fault.injections_over(study(ADDED).problem, 3))
    assert not list(fault.injections_over(study(ADDED).problem, 4))  # four micro-batches of six are three
    (injection,) = fault.injections_over(study(ADDED).problem, 6)
    assert "6 times" in injection.effect


def test_a_model_that_adds_nothing(study: Any) -> None:
    plain = study(
        ADDED.replace("kernel_regularizer: l2, activity_regularizer: l2, ", "").replace("bias_regularizer: l1, ", "")
    )
    assert not plain.injections("GC501") + plain.injections("GC502")

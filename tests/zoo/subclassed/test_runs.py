"""Every model of the table builds, runs and trains as it is, and so does its twin with the same layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.zoo.subclassed.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport
    from tests.zoo.subclassed.cases import Case

pytestmark = [pytest.mark.zoo, pytest.mark.filterwarnings("ignore:.*does not support masking")]
twinned = pytest.mark.parametrize("case", [case for case in CASES if case.twin], ids=lambda case: case.name)
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def gradients(model: Any, x: Any) -> tuple[list[Any], list[Any]]:
    """The outputs, and the gradients of their squares' mean and the model's own losses."""
    import keras
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = keras.tree.flatten(model(x, training=True))
        loss = sum(tf.reduce_mean(tf.square(tf.cast(out, "float32"))) for out in outputs) + sum(model.losses)
    return outputs, tape.gradient(loss, model.trainable_variables)


@each
def test_it_runs_and_trains(case: Case) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    model, (x, _) = case.build(), case.batch()
    assert type(model) not in (keras.Model, keras.Sequential)
    assert not model.built
    outputs, found = gradients(model, keras.tree.map_structure(tf.constant, x))
    assert all(bool(tf.reduce_all(tf.math.is_finite(out))) for out in outputs)
    assert any(gradient is not None for gradient in found)
    assert all(bool(tf.reduce_all(tf.math.is_finite(g))) for g in found if g is not None)


@twinned
def test_a_twin_computes_the_same_with_layers_of_the_same_names(case: Case) -> None:
    import keras
    import numpy as np

    assert case.twin is not None
    model, twin, (x, _) = case.build(), case.twin(), case.batch()
    model(x)
    theirs = {layer.name: layer for layer in twin.layers if not isinstance(layer, keras.layers.InputLayer)}
    assert {id(getattr(model, name)) for name in theirs} == {id(layer) for layer in model.layers}
    for name, layer in theirs.items():
        layer.set_weights(getattr(model, name).get_weights())
    outputs = (keras.tree.flatten(either(x, training=False)) for either in (model, twin))
    for found, wanted in zip(*outputs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.third(option="--subclassed", start=1)
@twinned
def test_a_twin_is_cut_after_every_call_and_passes(run: Callable[..., RunReport], case: Case) -> None:
    report = run(case.config({"every": "layer"}, ["vjp"], twin=True))
    assert report.verdict == "pass", report.error or report.checks[0].failures
    assert len(report.segments) > 3


@pytest.mark.parametrize("case", [case for case in CASES if case.cut != "all"], ids=lambda case: case.name)
def test_what_cannot_be_traced_has_a_reason(case: Case) -> None:
    assert case.reason
    assert bool(case.stays) == (case.cut == "partly")

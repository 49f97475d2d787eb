"""Traced calls are held against the object: what differs stays one call."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gradcheck.batch import Batch
from gradcheck.building.state import State
from gradcheck.cutting.model_graph import flatten
from gradcheck.problem.trace_check import Traced
from tests.cutting.traced_models import Composite, around, block, dense, numbers, plain, symbolic, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]


@pytest.fixture(autouse=True)
def _session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def loss(_: Any, outputs: Any, *__: Any) -> Any:
    return tf.add_n([tf.reduce_mean(tf.square(output)) for output in outputs])


def traced(layer: keras.Layer, *x: Any, training: bool = True) -> Traced:
    given = x or (numbers(4, 3),)
    model = wrapped(layer, *(symbolic(*value.shape[1:], dtype=value.dtype.name) for value in given))
    return Traced(
        model=model,
        graph=flatten(model, training=training),
        batch=Batch(x=tuple(map(tf.constant, given)), y=()),
        loss=loss,  # type: ignore[arg-type]  # as it is called
        state=State([model], seed=0),
        training=training,
        precision="float32",
    )


def wrong(layer: keras.Layer, *x: Any, training: bool = True) -> dict[keras.Layer, str]:
    """What the check says, by layer."""
    check = traced(layer, *x, training=training)
    by_id = {id(opened.layer): opened.layer for opened in check.graph.opened}
    return {by_id[key]: said for key, said in check.wrong().items()}


def is_symbolic(x: Any) -> bool:
    return isinstance(x, keras.KerasTensor)


def test_calls_that_are_found_right_are_not_named() -> None:
    drop = block(lambda layer, x, _: layer.drop(layer.dense(x)), drop=layers.Dropout(0.5))
    assert wrong(around(block(), drop, block())) == {}


def test_a_model_without_opened_layers_is_not_run() -> None:
    check = traced(dense())
    assert replace(check, loss=None).wrong() == {}  # type: ignore[arg-type]  # it would raise


def by_numpy(layer: Any, x: Any, _: Any) -> Any:
    return layer.dense(x) * np.random.normal()


def by_python(layer: Any, x: Any, _: Any) -> Any:
    return layer.dense(x) * random.random()


def other_output(layer: Any, x: Any, _: Any) -> Any:
    return layer.dense(x) * (1.0 if is_symbolic(x) else 1.01)


def other_gradient(layer: Any, x: Any, _: Any) -> Any:
    h = layer.dense(x)
    return 0.5 * h + 0.5 * (ops.stop_gradient(h) if is_symbolic(x) else h)


def no_gradient(layer: Any, x: Any, _: Any) -> Any:
    h = layer.dense(x)
    return ops.stop_gradient(h) if is_symbolic(x) else h


def other_state(layer: Any, x: Any, _: Any) -> Any:
    if not is_symbolic(x):
        layer.norm(x)
    return layer.dense(x)


def other_shape(layer: Any, x: Any, _: Any) -> Any:
    h = layer.dense(x)
    return ops.concatenate([h, h], axis=0) if is_symbolic(x) else h


DIFFERENT = [
    (by_numpy, "outputs 0"),
    (by_python, "outputs 0"),
    (other_output, "outputs 0"),
    (other_gradient, "gradients of argument 0"),
    (no_gradient, "gradients of argument 0"),
    (other_state, "state "),
    (other_shape, "outputs 0"),
]


@pytest.mark.parametrize(("call", "what"), DIFFERENT, ids=lambda value: getattr(value, "__name__", ""))
def test_the_innermost_layer_that_differs_is_named_alone_with_what_differs(call: Any, what: str) -> None:
    culprit = block(call, norm=layers.BatchNormalization())
    culprit.norm.build((None, 3))
    drops = block(lambda layer, x, _: layer.drop(layer.dense(x)), drop=layers.Dropout(0.5))
    model = around(drops, around(dense(), culprit), block())
    ((layer, said),) = wrong(model).items()
    assert layer is culprit
    assert said.startswith(f"the calls found inside do not compute what it does (unlike are {what}")


def test_a_loss_that_is_added_on_values_alone() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        h = layer.dense(x)
        if not is_symbolic(x):
            layer.add_loss(ops.sum(h))
        return h

    layer = around(block(call), block())
    found = wrong(layer)
    assert set(found) == {layer, layer.inner[0], layer.inner[1]}, "no layer by itself has another loss"
    (said,) = set(found.values())
    assert said.startswith("the calls found inside do not compute what the model does (unlike are loss")


def test_a_difference_that_lies_in_none_of_the_layers_closes_all() -> None:
    layer = around(block(), layers.Dropout(0.5), block())
    check = traced(layer)
    calls = tuple(
        replace(call, training=False) if isinstance(call.operation, layers.Dropout) else call
        for call in check.graph.calls
    )
    inside = replace(check, graph=replace(check.graph, calls=calls))
    assert set(inside.wrong()) == {id(layer)}, "the layer around is the innermost with this call"
    opened = tuple(o for o in check.graph.opened if o.layer is not layer)
    outside = replace(check, graph=replace(check.graph, calls=calls, opened=opened))
    assert set(outside.wrong()) == {id(layer.inner[0]), id(layer.inner[2])}


def test_a_layer_that_makes_other_calls_on_values() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        first, second = layer.parts if is_symbolic(x) else layer.parts[::-1]
        return second(first(x))

    def scaled(layer: Any, x: Any, _: Any) -> Any:
        return layer.dense(x) * 2.0

    layer = Composite(call, parts=[block(), block(scaled)])
    found = wrong(layer)
    assert "it makes other calls when it is run on values" in found.values()


def test_traced_calls_that_raise_are_not_used() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        return ops.reshape(layer.dense(x), (-1, 5 if is_symbolic(x) else 3))

    layer = around(block(call))
    found = wrong(layer)
    assert any("the traced calls raise InvalidArgumentError" in said for said in found.values())


def test_a_model_that_raises_itself_is_left_to_the_reference() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        if not is_symbolic(x) and layer.armed:
            raise RuntimeError("not today")
        return layer.dense(x)

    layer = block(call, armed=False)
    check = traced(layer)
    layer.armed = True
    (said,) = check.wrong().values()
    assert "it raises RuntimeError: not today" in said


def test_what_differs_by_rounding_alone_is_right() -> None:
    x, wide = numbers(4, 3), dense(200)
    wide.build((None, 3))
    signs = np.tile([1e3, -1e3], 100).astype("float32")
    total = np.sum(x @ wide.kernel.numpy().astype("float64") * signs, axis=1, keepdims=True).astype("float32")

    def call(layer: Any, x: Any, _: Any) -> Any:
        terms = layer.wide(x) * signs
        return ops.sum(ops.flip(terms, axis=1) if is_symbolic(x) else terms, axis=1, keepdims=True) - total

    check = traced(Composite(call, wide=wide), x)
    assert check.wrong() == {}
    ours, theirs = (check._from_start(side).outputs["0"] for side in (check._object, check._graph))
    assert not np.allclose(ours, theirs, rtol=1e-2), "the tolerance alone would not do"


def test_a_difference_above_rounding_is_wrong_however_large_that_is() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        return layer.dense(x) + (1e-3 if is_symbolic(x) else 0.0)

    assert len(wrong(block(call))) == 1


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_masks_and_the_flag_around_reach_a_layer_that_is_tried_alone(training: bool) -> None:
    class Inner(keras.layers.Layer):
        """Takes no flag: its layers have that of the calls around."""

        def __init__(self) -> None:
            super().__init__()
            self.drop, self.lstm = layers.Dropout(0.5), layers.LSTM(3)

        def call(self, x: Any) -> Any:
            return self.lstm(self.drop(x))

    culprit = block(other_output)
    model = around(layers.Embedding(5, 3, mask_zero=True), Inner(), culprit)
    assert set(wrong(model, np.array([[1, 2, 0, 0], [3, 4, 1, 0]]), training=training)) == {culprit}


def test_nothing_moves() -> None:
    layer = around(block(other_output), block(plain, norm=layers.BatchNormalization()))
    check = traced(layer)
    before = [v.value.numpy() for v in check.state.movable]
    check.wrong()
    for variable, value in zip(check.state.movable, before, strict=True):
        np.testing.assert_array_equal(variable, value)

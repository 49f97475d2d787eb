from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from gradcheck.building.state import State
from gradcheck.cutting.cut import cut_after, cut_every
from gradcheck.cutting.model_graph import TensorRef, flatten
from gradcheck.cutting.run_calls import tapped
from gradcheck.cutting.segment import WholeGraph
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import ConfigError, RunError
from gradcheck.problem.problem import make_segments
from tests.cutting.traced_models import around, block, dense, numbers, symbolic, wrapped


def segments_of(model: keras.Model, after: list[str] | None = None) -> tuple[keras.Layer, ...]:
    graph = flatten(model)
    plan = cut_every(graph) if after is None else cut_after(graph, after)
    return make_segments(graph, plan, dtype=model.dtype_policy)


def chained(segments: tuple[keras.Layer, ...], x: tf.Tensor, *, training: bool) -> tf.Tensor:
    for segment in segments:
        x = segment(x, training=training)
    return x


def test_segments_compute_what_the_whole_computes() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(keras.layers.Dense(5)(x))))
    state, value = State([model], seed=0), tf.random.normal((3, 6))
    whole = model(value, training=True)
    state.restore()
    np.testing.assert_array_equal(chained(segments_of(model), value, training=True), whole)


def test_the_training_flag_reaches_every_layer_even_against_a_flag_at_construction() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.BatchNormalization()(x, training=False)))
    state, value = State([model], seed=0), tf.random.normal((8, 6)) * 3
    whole = model(value, training=True)
    state.restore()
    np.testing.assert_array_equal(chained(segments_of(model), value, training=True), whole)


def test_masks_cross_the_boundary() -> None:
    x = keras.Input((5,), dtype="int32")
    embedded = keras.layers.Embedding(7, 3, mask_zero=True, name="embedding")(x)
    model = keras.Model(x, keras.layers.LSTM(4)(keras.layers.Dropout(0.5)(embedded)))
    value = tf.constant([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])
    state = State([model], seed=0)
    with state.preserved():
        values = {"keras_tensor": value}
        for segment in segments_of(model):
            outputs = segment([values.get(name, value) for name in segment.input_names], training=False)
            values.update(zip(segment.output_names, outputs if isinstance(outputs, list) else [outputs], strict=True))
    np.testing.assert_array_equal(values["lstm"], model(value))
    assert not np.allclose(values["lstm"], model.layers[-1](tf.identity(values["embedding"]))), "the mask must matter"


def test_a_layer_called_twice_in_one_segment_keeps_both_losses() -> None:
    x = keras.Input((3,))
    shared = keras.layers.Dense(3, activity_regularizer="l2", name="shared")
    model = keras.Model(x, keras.layers.Dense(1, name="out")(shared(shared(x))))
    first, _ = segments_of(model, ["shared"])
    first(tf.ones((2, 3)))
    assert len(first.losses) == 2


def test_a_weight_penalty_belongs_to_the_first_segment_that_uses_the_weight() -> None:
    x = keras.Input((3,))
    shared = keras.layers.Dense(3, kernel_regularizer="l2", name="shared")
    model = keras.Model(x, shared(keras.layers.ReLU()(shared(x))))
    parts = segments_of(model)
    value = tf.ones((2, 3))
    losses = []
    for part in parts:
        value = part(value)
        losses.append(len(part.losses))
    assert losses == [1, 0, 0]


def test_taps_collect_copies_of_what_keras_computes() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.ReLU(name="relu")(keras.layers.Dense(2, name="dense")(x)))
    graph, value = flatten(model), tf.random.normal((2, 3))
    with tapped(graph, [TensorRef(0, 0)], lambda _: None) as taps:
        outputs = model(value)
    np.testing.assert_array_equal(taps[TensorRef(0, 0)], model.layers[1](value))
    np.testing.assert_array_equal(outputs, model(value))
    assert "_run_through_graph" not in vars(model), "Keras's own method is back"


def test_a_model_that_does_not_run_its_graph_is_refused() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(ConfigError, match="does not run its own graph"), tapped(flatten(model), [], lambda _: None):
        model.layers[1](tf.ones((1, 3)))


def test_taps_are_removed_when_the_model_raises() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(RuntimeError), tapped(flatten(model), [], lambda _: None):
        raise RuntimeError
    assert "_run_through_graph" not in vars(model)


def test_a_copy_keeps_the_mask_and_is_another_tensor() -> None:
    tensor = tf.ones((2, 2))
    tensor._keras_mask = mask = tf.constant([True, False])
    copy = copied(tensor)
    assert copy is not tensor
    assert copy._keras_mask is mask


# Calls that were traced


def with_loss(layer: Any, x: Any, _: Any) -> Any:
    h = layer.dense(x)
    layer.add_loss(ops.mean(ops.square(h)))
    return h


def test_a_loss_that_a_traced_call_adds_is_one_of_its_segment() -> None:
    model = wrapped(around(block(with_loss), block(with_loss), block()), symbolic(3))
    first, second, third = segments_of(model, ["inner/0", "inner/1"])
    value = tf.constant(numbers(4, 3))
    model(value)
    for _ in range(2):  # those of the latest call
        chained((first, second, third), value, training=True)
        losses = [*first.added_losses, *second.added_losses]
        assert third.losses == []
        np.testing.assert_array_equal(sorted(map(float, losses)), sorted(map(float, model.losses)))


def test_a_flag_of_a_traced_call_is_that_of_its_code_and_all_others_are_the_segments() -> None:
    def call(layer: Any, x: Any, training: Any) -> Any:
        return layer.late(layer.never(layer.dense(x), training=False), training=training)

    layer = block(call, never=layers.Dropout(0.5), late=layers.Dropout(0.5))
    segment, last = segments_of(wrapped(layer, symbolic(3)), ["never"])
    value = tf.constant(numbers(4, 3))
    np.testing.assert_array_equal(segment(value, training=True), layer.dense(value))
    assert not np.array_equal(last(value, training=True), value)
    np.testing.assert_array_equal(last(value, training=False), value)


def test_a_batch_of_another_length_than_the_traced_one_is_refused() -> None:
    def call(layer: Any, x: Any, _: Any) -> Any:
        return ops.reshape(layer.dense(x), (x.shape[0], 3))

    model = wrapped(block(call), symbolic(3))
    graph = flatten(model, batch_size=4)
    for segment in make_segments(graph, cut_after(graph, ["dense"]), dtype=model.dtype_policy):
        assert segment(tf.ones((4, 3))).shape == (4, 3)
        with pytest.raises(RunError, match=r"takes batches of 4 examples: .* Received: 2") as caught:
            segment(tf.ones((2, 3)))
        assert caught.value.code == "GC055"


def test_the_whole_graph_as_one_segment_returns_outputs_and_copies_of_tensors_inside() -> None:
    entry = keras.Input((3,), dtype="float64")
    inner = keras.Model(entry, [entry, layers.Dense(2, dtype="float64")(entry)])
    x = keras.Input((3,))
    model = keras.Model(x, [*inner(layers.Dense(3, name="first")(x)), x])
    graph, value = flatten(model), tf.constant(numbers(4, 3))
    crossing, seen = TensorRef(0, 0), list[Any]()
    whole = WholeGraph(graph, dtype=model.dtype_policy, separate=[crossing], on_copy=seen.append)
    for one, other in zip(whole([value], training=True), model(value), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert seen == [whole.copies[crossing]]
    np.testing.assert_array_equal(whole.copies[crossing], model.layers[1](value))


def test_the_copy_is_what_the_calls_inside_take() -> None:
    model = wrapped(around(dense(), dense()), symbolic(3))
    graph = flatten(model)
    with tf.GradientTape() as tape:
        whole = WholeGraph(graph, dtype=model.dtype_policy, separate=[TensorRef(0, 0)], on_copy=tape.watch)
        (output,) = whole([tf.constant(numbers(4, 3))], training=True)
        target = tf.reduce_sum(output)
    kernel = model.layers[-1].inner[1].kernel
    np.testing.assert_allclose(
        tape.gradient(target, whole.copies[TensorRef(0, 0)]), np.tile(np.sum(kernel, axis=1), (4, 1)), rtol=1e-6
    )
